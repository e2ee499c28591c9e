/**
 * Adapters at inference: what was trained is what runs, bit for bit; several serve in one batch as each does alone, on every backend; and
 * another base is refused.
 */
import { mkdtempSync, readdirSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openModelFiles } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { finetuneSettings, openFinetune, saveModel } from "@bitnet.ts/train";
import { BitNet, type BitNetLoadOptions, embeddedModelPath } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adapterKernels, trainAdapter } from "./trained-adapter.ts";

let folder: string;
const text = "It was a dark and stormy night, and the wind was very cold.";
/** Losses of the trainer on `text`, per adapter. */
const trained = new Map<string, number[]>();
let ids: Int32Array;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-adapters-"));
  for (const [name, seed] of [
    ["a", 1],
    ["b", 2],
  ] as const) {
    const adapter = await trainAdapter(folder, { name, seed, text });
    ids = adapter.ids;
    trained.set(name, adapter.losses);
  }
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const both = () => ({ a: join(folder, "a", "adapter"), b: join(folder, "b", "adapter.gguf") });

async function load(options: BitNetLoadOptions): Promise<BitNet> {
  return BitNet.load("tiny", {
    kvType: "f32",
    contextLength: 128,
    onNotice: () => {},
    threads: 2,
    ...options,
  });
}

async function losses(model: BitNet, adapter: string | null): Promise<number[]> {
  const { promptLogprobs = [] } = await model.generate(ids, { maxTokens: 0, promptLogprobs: 0, adapter })
    .result;
  return promptLogprobs.slice(1).map((entry) => -(entry?.logprob ?? Number.NaN));
}

describe.each(["native", "reference"] as const)("on the %s backend", (backend) => {
  it.runIf(process.platform === "linux")(
    "leaves no file of its adapters open, disposed or never loaded",
    async () => {
      const openFiles = () =>
        readdirSync("/proc/self/fd").filter((fd) => {
          try {
            return readlinkSync(`/proc/self/fd/${fd}`).startsWith(realpathSync(folder));
          } catch {
            return false; // the folder that was just read
          }
        });
      await (await load({ backend, adapters: both() })).dispose();
      expect(openFiles()).toEqual([]);
      const onProgress = () => {
        throw new RangeError("no further");
      };
      await expect(load({ backend, adapters: both(), onProgress })).rejects.toThrow("no further");
      expect(openFiles()).toEqual([]);
    },
  );

  it("an adapter computes what it did in training, and the base what it does without any", async () => {
    const model = await load({ backend, adapters: both() });
    const plain = await load({ backend });
    expect(model.info.adapters).toEqual(["a", "b"]);
    // The embedding of this base is f16 in its file, and widened exactly in training.
    expect(await losses(model, "a")).toEqual(trained.get("a"));
    expect(await losses(model, "b")).toEqual(trained.get("b"));
    expect(await losses(model, null)).toEqual(await losses(plain, null));
    expect(trained.get("a")).not.toEqual(trained.get("b"));
    await model.dispose();
    await plain.dispose();
  }, 120_000);
});

it("several adapters in one batch give what each gives alone, and share no pages", async () => {
  const model = await load({ adapters: both() });
  const choices = ["a", null, "b", "a", "b", null];
  const options = { maxTokens: 24, temperature: 0.8, logprobs: 0 } as const;
  const run = (adapter: string | null, seed: number) =>
    model.generate(text, { ...options, adapter, seed }).result;
  const together = await Promise.all(choices.map((adapter, seed) => run(adapter, seed)));
  await model.dispose();
  for (const [seed, adapter] of choices.entries()) {
    const alone = await load({ adapters: both() });
    const other = adapter === "a" ? "b" : "a";
    await alone.generate(text, { ...options, adapter: other }).result; // leaves pages of the same prompt
    const result = await alone.generate(text, { ...options, adapter, seed }).result;
    expect(result.cachedTokens).toBe(0);
    expect(result.ids).toEqual(together[seed]?.ids);
    expect(result.logprobs).toEqual(together[seed]?.logprobs);
    expect((await alone.generate(text, { ...options, adapter, seed }).result).cachedTokens).toBeGreaterThan(
      0,
    );
    await alone.dispose();
  }
  expect(together[0]?.ids).not.toEqual(together[1]?.ids);
}, 120_000);

it("a model may have a usual adapter, which a generation may decline", async () => {
  const model = await load({ adapters: both(), adapter: "b" });
  const run = async (adapter?: string | null) => {
    const choice = adapter === undefined ? {} : { adapter };
    return (await model.generate(ids, { maxTokens: 4, temperature: 0, logprobs: 0, ...choice }).result)
      .logprobs;
  };
  expect(await run()).toEqual(await run("b"));
  expect(await run(null)).not.toEqual(await run("b"));
  expect(() => model.generate(ids, { adapter: "c" })).toThrow(/no "c" \(loaded: a, b/);
  await model.dispose();
}, 60_000);

it("refuses another base, another shape and what is no adapter", async () => {
  const path = join(folder, "other.gguf");
  const run = await openFinetune(
    await openModelFiles(await openPath(embeddedModelPath())),
    finetuneSettings({ data: [join(folder, "data.jsonl")], lora: null, steps: 1, rate: 0.05, maxLength: 64 }),
    { folder: join(folder, "full"), kernels: adapterKernels(), name: "tiny" },
  );
  await run.trainer.run();
  const { gguf } = await saveModel(join(folder, "full"), run.executor, run.base, "f16");
  await run.close();
  const options = { adapters: { a: join(folder, "a", "adapter") }, onNotice: () => {} };
  await expect(BitNet.load(gguf, options)).rejects.toThrow(/another base/);
  await expect(load({ adapters: { a: embeddedModelPath() } })).rejects.toThrow(
    /adapter "a": .*expected a GGUF adapter/,
  );
  await expect(load({ adapters: { a: path } })).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  await expect(load({ adapters: { a: "" } })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await expect(load({ adapter: "a" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
}, 120_000);
