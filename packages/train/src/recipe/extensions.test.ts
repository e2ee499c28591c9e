/** A recipe that extends another goes on with its run; one that changes what was before is refused. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { referenceKernels } from "../kernels/reference/reference-kernels.ts";
import { readLog } from "../train/log.ts";
import { openRun } from "./open-run.ts";
import { parseRecipe } from "./recipe.ts";

const words = ["cat", "dog", "owl", "cow", "fox", "hen"];
const say = (name: string, shares: [number, number], offset: number) => ({
  name,
  shares,
  heldOut: 2,
  generate: (seed: number, i: number) => ({
    kind: "chat" as const,
    messages: [
      { role: "user", content: `say ${words[(i + offset + seed) % 6]}` },
      { role: "assistant", content: `${words[(i * offset + seed) % 6]}` },
    ],
  }),
});

const base = {
  name: "small",
  seed: 3,
  model: { hiddenSize: 16, ffnSize: 32, nLayers: 1, nHeads: 2, contextLength: 32 },
  tokenizer: { vocabSize: 280, samples: 20 },
  sources: [say("first", [1, 1], 1), say("second", [1, 2], 2)],
  tokens: 120,
  batchTokens: 30,
  microBatchTokens: 32,
  evaluateEvery: 2,
};
const extension = { tokens: 60, peakRate: 1e-3, warmupSteps: 1, shares: { third: 2, first: 1 } };
const extended = {
  ...base,
  sources: [...base.sources, say("third", [0, 0], 5)],
  extensions: [extension],
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-extension-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Opens, resumes and runs to the end; what the run came to. */
async function runOf(recipe: object, path: string) {
  const run = await openRun(parseRecipe(recipe, "recipe"), {
    folder: path,
    kernels: referenceKernels("f32"),
    recipePath: join(path, "recipe.js"),
  });
  try {
    const resumed = (await run.trainer.resume()) ? run.trainer.state.step : 0;
    const state = await run.trainer.run();
    return { resumed, state, weights: run.executor.parameters.map((floats) => [...floats]) };
  } finally {
    run.close();
  }
}

describe("a recipe with an extension", () => {
  it("goes on from the finished run, to the bits of one run from the start", async () => {
    const whole = await runOf(extended, join(folder, "whole"));
    const path = join(folder, "parts");
    const before = await runOf(base, path);
    const vocabulary = readFileSync(join(path, "vocabulary.json"), "utf8");
    const after = await runOf(extended, path);
    expect([before.state.step, after.resumed, after.state.step]).toEqual([4, 4, 6]);
    expect(readFileSync(join(path, "vocabulary.json"), "utf8")).toBe(vocabulary);
    expect(after.weights).toEqual(whole.weights);
    expect(after.state).toEqual(whole.state);
    expect(after.weights).not.toEqual(before.weights);
    const again = { ...extended, extensions: [extension, { ...extension, tokens: 30 }] };
    const longest = await runOf(again, path);
    expect([longest.resumed, longest.state.step]).toEqual([6, 7]);
  });

  it("refuses a checkpoint of anything but what it extends", async () => {
    const path = join(folder, "run");
    await runOf(extended, path);
    const [first, second, third] = extended.sources;
    const changed: [string, object][] = [
      ["another rate before", { ...extended, schedule: { peakRate: 1e-3 } }],
      ["another share before", { ...extended, sources: [first, { ...second, shares: [1, 3] }, third] }],
      ["other data before", { ...extended, sources: [first, { ...say("second", [1, 2], 3) }, third] }],
      ["another extension", { ...extended, extensions: [{ ...extension, peakRate: 2e-3 }] }],
      ["other data of the extension", { ...extended, sources: [first, second, say("third", [0, 0], 4)] }],
      ["no extension any more", base],
    ];
    for (const [what, recipe] of changed)
      await expect(runOf(recipe, path), what).rejects.toThrow(/another recipe or other data/);
  });

  it("may have gradients in bf16, which the run before had not", async () => {
    const brains = { ...extended, extensions: [{ ...extension, backward: "bf16" }] };
    const whole = await runOf(brains, join(folder, "whole"));
    const path = join(folder, "parts");
    await runOf(base, path);
    const after = await runOf({ ...brains, backward: "f32" }, path);
    expect(after.weights).toEqual(whole.weights);
    const exact = await runOf(extended, join(folder, "exact"));
    expect(after.weights).not.toEqual(exact.weights);
    await expect(runOf(extended, path)).rejects.toThrow(/another recipe/);
    await expect(runOf({ ...base, backward: "bf16" }, path)).rejects.toThrow(/another recipe/);
  });

  it("may be stopped early: what was done stays as it was", async () => {
    const early = { ...extended, extensions: [{ ...extension, tokens: 30, decayTokens: 60 }] };
    const ratesOf = async (recipe: object, path: string) => {
      await runOf(recipe, path);
      return readLog(join(path, "log.jsonl")).flatMap((each) => (each.kind === "step" ? [each.rate] : []));
    };
    const whole = await ratesOf(extended, join(folder, "whole"));
    const path = join(folder, "early");
    expect(await ratesOf(early, path)).toEqual(whole.slice(0, 5));
    expect(whole[4]).not.toBe(whole[5]);
    // Its checkpoint is that of the stage in full, which goes on with it, or with another stage in its place.
    expect((await runOf(extended, path)).resumed).toBe(5);
    const other = { ...extended, extensions: [early.extensions[0], { ...extension, peakRate: 3e-3 }] };
    await expect(runOf(other, path)).rejects.toThrow(/is of step 6, .* otherwise after step 5/);
    rmSync(join(path, "checkpoints", "step-00000006"), { recursive: true });
    expect((await runOf(other, path)).resumed).toBe(5);
    // Of what came after, where the stage before it ended counts.
    const moved = { ...other, extensions: [extension, other.extensions[1]] };
    await expect(runOf(moved, path)).rejects.toThrow(/another recipe/);
    await expect(runOf(extended, path)).rejects.toThrow(/another recipe/);
  });

  it("lists what is wrong with it", () => {
    const parse =
      (extensions: unknown, sources: object[] = extended.sources) =>
      () =>
        parseRecipe({ ...base, sources, extensions }, "recipe");
    expect(parse({})).toThrow(/extensions: expected a list/);
    expect(parse([{ ...extension, tokens: 0 }])).toThrow(/extensions\[0\]\.tokens is 0, expected a positive/);
    expect(parse([{ ...extension, rate: 1 }])).toThrow(/extensions\[0\]\.rate: no such field/);
    expect(parse([{ ...extension, shares: { fourth: 1 } }])).toThrow(/no source is called "fourth"/);
    expect(parse([{ ...extension, shares: { third: -1 } }])).toThrow(/third: expected a number from 0 up/);
    expect(parse([{ ...extension, decay: "fast" }])).toThrow(/decay: expected one of linear, cosine/);
    expect(parse([{ ...extension, backward: "f16" }])).toThrow(/backward: expected one of f32, bf16/);
    expect(parse([{ tokens: 1, shares: { third: 1 } }])).toThrow(
      /peakRate is missing, expected a positive number/,
    );
    const [first, second, third] = extended.sources as [object, object, object];
    expect(parse([extension], [first, third, second])).toThrow(/second is used before third/);
  });
});
