/**
 * The recipe of the default model works in one piece: run, five extensions, exports; here at 1/5000 of its tokens.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type LogEntry, parseRecipe, readLog, shrinkRecipe } from "@bitnet.ts/train";
import { BitNet } from "bitnet.ts";
import { expect, it } from "vitest";
import smallChat from "../models/recipes/small-chat.ts";

const root = join(import.meta.dirname, "..");
const bitnet = join(root, "packages", "cli", "bin", "bitnet.js");
const program = join(root, "build", "models", "recipes", "small-chat.js");
const share = 0.0002;

interface Trained {
  gguf: string;
  step: number;
  tokens: number;
  losses: Record<string, number>;
}

async function train(folder: string): Promise<Trained> {
  const flags = ["--share", String(share), "--backward", "f32", "-t", "1", "--json"];
  const env = { ...process.env, BITNET_TEXT: "" };
  const args = [bitnet, "train", program, "-o", folder, ...flags];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return JSON.parse(stdout) as Trained;
}

it("trains through every stage, exports, and answers", async () => {
  const recipe = shrinkRecipe(parseRecipe({ ...smallChat }, "small-chat"), share);
  const steps = (tokens: number) => Math.max(1, Math.round(tokens / recipe.batchTokens));
  const ends: number[] = [];
  for (const { tokens } of [recipe, ...recipe.extensions]) ends.push((ends.at(-1) ?? 0) + steps(tokens));
  const folder = mkdtempSync(join(tmpdir(), "bitnet-recipe-"));
  try {
    const result = await train(folder);
    expect(result.step).toBe(ends.at(-1));
    expect(ends.length).toBe(6);
    const log = readLog(join(folder, "log.jsonl"));
    const ofKind = <K extends LogEntry["kind"]>(kind: K) =>
      log.filter((entry): entry is LogEntry & { kind: K } => entry.kind === kind);
    expect(ofKind("step").map(({ step }) => step)).toEqual(
      Array.from({ length: result.step }, (_, i) => i + 1),
    );
    // Every stage ends with an evaluation and a checkpoint; the next one begins with its own rate.
    for (const [i, end] of ends.entries()) {
      expect(ofKind("evaluation").map(({ step }) => step)).toContain(end);
      expect(ofKind("checkpoint").map(({ step }) => step)).toContain(end);
      const schedule = recipe.extensions[i]?.schedule;
      if (schedule !== undefined)
        expect(ofKind("step")[end]?.rate).toBe(schedule.peakRate / Math.max(1, schedule.warmupSteps));
    }
    expect(Object.keys(result.losses)).toEqual(smallChat.sources.map(({ name }) => name));
    const losses = ofKind("step").map(({ loss }) => loss);
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) - 1);
    const model = await BitNet.load(result.gguf, { onNotice: () => {}, threads: 1 });
    expect(model.info).toMatchObject({ hiddenSize: 256, nLayers: 6 });
    expect((await model.generate("User: hello", { maxTokens: 4, ignoreEos: true }).result).ids).toHaveLength(
      4,
    );
    await model.dispose();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
