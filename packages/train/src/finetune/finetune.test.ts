/** Fine-tuning starts as the base is, goes on as if it had not been interrupted, and what it writes is what it trained. */
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkBase, openAdapter, openModelFiles, planConversion, readTensor } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mergeAdapter } from "../adapter/merge-adapter.ts";
import { saveGgufAdapter, savePeftAdapter } from "../adapter/save-adapter.ts";
import { writeWhole } from "../export/write-file.ts";
import type { Executor, MicroBatch } from "../graph/executor.ts";
import { noise, smallBatch } from "../graph/small-model.test.kit.ts";
import { type LoraShape, loraTargets } from "../graph/transformer.ts";
import { referenceKernels } from "../kernels/reference/reference-kernels.ts";
import { openBase, spreadMasters, storedMasters } from "./base-model.ts";
import { openFinetune } from "./open-finetune.ts";
import { saveModel } from "./save-model.ts";
import { type FinetuneSettings, finetuneSettings } from "./settings.ts";
import { fastKernels, makeBase, openFiles } from "./small-base.test.kit.ts";

let folder: string;
let original: Executor;
let batch: MicroBatch;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-finetune-"));
  original = await makeBase(folder);
  batch = smallBatch([20, 30], 3, original.graph.vocabSize);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Trained through the ternariser. */
const merged: LoraShape = { rank: 8, alpha: 16, dropout: 0, targets: loraTargets, isMerged: true };

let nRuns = 0;
async function open(given: Partial<FinetuneSettings> = {}, base = "base.gguf", run = `run-${nRuns++}`) {
  const settings = finetuneSettings({
    data: [join(folder, "data.jsonl")],
    steps: 8,
    rate: 3e-3,
    evaluateEvery: 3,
    checkpointEvery: 2,
    maxLength: 64,
    ...given,
  });
  const options = { folder: join(folder, run), kernels: fastKernels(), name: base };
  return openFinetune(await openFiles(join(folder, base)), settings, options);
}

const lossesOf = (executor: Executor) => {
  executor.loss(batch);
  return Array.from(executor.losses.subarray(0, batch.ids.length));
};

function trainedBits(executor: Executor): string {
  const hash = createHash("sha256");
  executor.graph.parameters.forEach(({ isFrozen }, id) => {
    const floats = executor.parameters[id];
    if (isFrozen || floats === undefined) return;
    hash.update(new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength));
  });
  return hash.digest("hex");
}

describe("a base without a chat template", () => {
  it("learns texts, and says what conversations need", async () => {
    const bare = join(folder, "bare");
    cpSync(join(folder, "base-hf"), bare, { recursive: true });
    const config = JSON.parse(readFileSync(join(bare, "config.json"), "utf8"));
    // 1bitLLM's, whose models have no template of their own.
    writeFileSync(
      join(bare, "config.json"),
      JSON.stringify({ ...config, architectures: ["BitnetForCausalLM"] }),
    );
    writeFileSync(join(bare, "tokenizer_config.json"), "{}");
    rmSync(join(bare, "chat_template.jinja"), { force: true });
    await expect(open({}, "bare")).rejects.toThrow(
      /bare: the model has no chat template that conversations could be learnt by: train on texts .*--text-mode text/,
    );
    const data = [Array.from({ length: 20 }, (_, i) => ({ text: `the colour of ${i} is red.` }))];
    const run = await open({ data, textMode: "text", steps: 1 }, "bare");
    await run.trainer.run();
    await run.close();
  });
});

describe("the first forward pass", () => {
  it("is the base's own, from packed weights as from a frozen base", async () => {
    for (const lora of [null, finetuneSettings({ data: ["x"] }).lora, merged]) {
      const run = await open({ lora });
      expect(lossesOf(run.executor)).toEqual(lossesOf(original));
      await run.close();
    }
  });

  it("has the masters that the files hold", async () => {
    const run = await open({ lora: null }, "base-hf");
    const masters = await storedMasters(run.base, "blk.1.ffn_up");
    const id = run.executor.graph.parameters.findIndex(({ name }) => name === "blk.1.ffn_up");
    expect(Array.from(run.executor.parameters[id] ?? [])).toEqual(Array.from(masters ?? []));
    expect(masters?.length).toBe(64 * 128);
    await run.close();
  });

  it.each([0.0123, 1.5, 3e-4])("has masters that ternarise to the trits and the scale %d", (value) => {
    const kernels = referenceKernels("f32");
    const scale = Math.fround(value);
    for (const n of [1, 130, 4099]) {
      const trits = Int8Array.from({ length: n }, (_, i) => Math.round(1.2 * noise(n, i)));
      const masters = new Float32Array(n);
      spreadMasters(trits, scale, masters);
      const formed = new Float32Array(n);
      const found = kernels.formWeights(masters, "b1.58", formed);
      expect(Array.from(formed, (x) => x + 0)).toEqual(Array.from(trits, (x) => x + 0));
      if (trits.some((trit) => trit !== 0)) expect(found).toBe(scale);
    }
  });
});

describe("a run", () => {
  it.each(["lora", "full", "merged"])(
    "that is stopped anywhere and resumed gives the same bits: %s",
    async (method) => {
      const given = method === "full" ? { lora: null } : method === "merged" ? { lora: merged } : {};
      const whole = await open(given);
      await whole.trainer.run();
      const before = trainedBits(whole.executor);
      await whole.close();
      for (const stop of [1, 4]) {
        const name = `stopped-${method}-${stop}`;
        const first = await open(given, "base.gguf", name);
        const controller = new AbortController();
        const onEntry = (entry: { kind: string; step: number }) => {
          if (entry.kind === "step" && entry.step === stop) controller.abort();
        };
        await expect(first.trainer.run({ signal: controller.signal, onEntry })).rejects.toThrow();
        await first.close();
        const second = await open(given, "base.gguf", name);
        expect(await second.trainer.resume()).toBe(true);
        expect(second.trainer.state.step).toBe(stop);
        await second.trainer.run();
        expect(trainedBits(second.executor)).toBe(before);
        await second.close();
      }
    },
  );

  it("learns, and gives the weights of its best evaluation back", async () => {
    const run = await open({ steps: 30, evaluateEvery: 2, rate: 0.01 });
    const first = run.trainer.evaluate();
    await run.trainer.run();
    const step = await run.trainer.restoreBest();
    const best = run.trainer.state.best;
    expect(best?.loss).toBeLessThan(first - 1);
    expect(step === null ? best?.step : step).toBe(best?.step);
    expect(run.trainer.evaluate()).toBe(best?.loss);
    await run.close();
  });

  it("refuses to resume on another base or with other data", async () => {
    const run = await open({}, "base.gguf", "other");
    await run.trainer.run();
    await run.close();
    const changed = await open({ rate: 1e-3 }, "base.gguf", "other");
    await expect(changed.trainer.resume()).rejects.toThrow(/another recipe or other data/);
    await changed.close();
  });

  it("takes the first examples of all its data together, of which a tenth is kept for evaluation", async () => {
    const record = (i: number) => ({ input: `${i}?`, output: `${i}.` });
    const data = [0, 30].map((from) => Array.from({ length: 30 }, (_, i) => record(from + i)));
    for (const [maxSamples, learnt, heldOut] of [
      [null, 54, 6],
      [40, 36, 4],
      [9, 9, 0],
    ] as const) {
      const run = await open({ data, maxSamples });
      expect([run.nExamples, run.heldOut.length]).toEqual([learnt, heldOut]);
      await run.close();
    }
  });

  it("reports every bad setting and every bad line", async () => {
    expect(() => finetuneSettings({ data: [], rate: -1, batchSize: 0 })).toThrow(
      /batchSize is 0.*data.*rate is -1/,
    );
    writeFileSync(join(folder, "bad.jsonl"), '{"input":"a","output":"b"}\n{"input":"a"}\nnot json\n');
    await expect(open({ data: [join(folder, "bad.jsonl")] })).rejects.toThrow(/bad\.jsonl:2.*bad\.jsonl:3/);
  });
});

describe("what is written", () => {
  it.each(["base.gguf", "base-hf"])("is the model that was trained, from %s", async (name) => {
    const run = await open({ lora: null, steps: 4 }, name);
    await run.trainer.run();
    const out = join(folder, `saved-${name}`);
    const saved = await saveModel(out, run.executor, run.base, "f32");
    const expected = lossesOf(run.executor);
    for (const path of [saved.gguf, saved.huggingFace ?? "none"]) {
      const again = await open({ lora: null }, path.slice(folder.length + 1));
      if (path === saved.gguf) expect(lossesOf(again.executor)).toEqual(expected);
      expect(again.base.fingerprint).not.toBe(run.base.fingerprint);
      await again.close();
    }
    await run.close();
  });

  it("has one fingerprint in every format", async () => {
    const files = await openFiles(join(folder, "base.gguf"));
    const plan = await planConversion(files, "base", "tq2_0", {}).catch(() => null);
    expect(plan).toBeNull(); // rows of 64 do not fill its blocks
    const packed = await planConversion(files, "base", "hf-packed", {});
    mkdirSync(join(folder, "packed"));
    for (const { name, pieces } of packed.files) await writeWhole(join(folder, "packed", name ?? ""), pieces);
    await files.close();
    const [a, b] = await Promise.all(
      ["base.gguf", "packed"].map(async (name) => openBase(await openFiles(join(folder, name)), name, 64)),
    );
    expect(a?.fingerprint).toMatch(/^[0-9a-f]{16}$/);
    expect(b?.fingerprint).toBe(a?.fingerprint);
    await a?.close();
    await b?.close();
  });

  it("is an adapter that PEFT's and llama.cpp's names describe, and that knows its base", async () => {
    const run = await open();
    await run.trainer.run();
    const lora = run.settings.lora;
    if (lora === null) throw new Error("no adapter");
    await savePeftAdapter(join(folder, "peft"), run.executor, lora, run.base);
    await saveGgufAdapter(join(folder, "adapter.gguf"), run.executor, lora, run.base);
    const id = run.executor.graph.parameters.findIndex(({ name }) => name === "blk.1.attn_k.lora_b");
    const trained = run.executor.parameters[id] ?? new Float32Array();
    expect(trained.some((x) => x !== 0)).toBe(true);
    for (const name of ["peft", "adapter.gguf"]) {
      const adapter = await openAdapter(await openPath(join(folder, name)), run.base.config);
      expect(adapter.projections.size).toBe(14);
      const projection = adapter.projections.get("blk.1.attn_k");
      expect(projection?.rank).toBe(32);
      expect(projection?.scale).toBe(2);
      if (projection === undefined) throw new Error("no projection");
      const bytes = (await readTensor(projection.b)).slice();
      expect(Array.from(new Float32Array(bytes.buffer))).toEqual(Array.from(trained));
      checkBase(adapter, run.base.fingerprint, "base");
      expect(() => checkBase(adapter, "0123456789abcdef", "other")).toThrow(/another base/);
      await adapter.close();
    }
    await expect(openModelFiles(await openPath(join(folder, "peft")))).rejects.toThrow(/config\.json/);
    await run.close();
  });
});

describe("an adapter that is trained through the ternariser", () => {
  it.each(["base.gguf", "base-hf"])(
    "gives the very model that was trained, and leaves the rest of %s",
    async (name) => {
      const run = await open({ lora: merged, steps: 30, rate: 0.02, evaluateEvery: 10 }, name);
      const before = run.trainer.evaluate();
      const table = run.executor.parameters[0]?.slice();
      const id = run.executor.graph.parameters.findIndex((each) => each.name === "blk.1.ffn_up");
      const [masters, trits] = [
        run.executor.parameters[id]?.slice(),
        run.executor.formed(id).weights.slice(),
      ];
      await run.trainer.run();
      expect(run.trainer.evaluate()).toBeLessThan(before - 0.3);
      expect(run.executor.parameters[0]).toEqual(table);
      expect(run.executor.parameters[id]).toEqual(masters);
      expect(run.executor.formed(id).weights).not.toEqual(trits);
      const saved = await saveModel(join(folder, `through-${name}`), run.executor, run.base, "f32");
      const again = await open({ lora: null }, saved.gguf.slice(folder.length + 1));
      expect(lossesOf(again.executor)).toEqual(lossesOf(run.executor));
      await again.close();
      await run.close();
    },
  );

  it("takes no dropout, and is no side path", async () => {
    await expect(open({ lora: { ...merged, dropout: 0.1 } })).rejects.toThrow(/dropout is 0.1, expected 0/);
    const run = await open({ lora: merged });
    const save = savePeftAdapter(join(folder, "none"), run.executor, merged, run.base);
    await expect(save).rejects.toThrow(/through the ternariser/);
    await run.close();
  });
});

describe("merging", () => {
  it("says what it costs, and gives the model that it measured", async () => {
    const run = await open({ steps: 6, rate: 1e-3 });
    await run.trainer.run();
    const { lora } = run.settings;
    if (lora === null) throw new Error("no adapter");
    await savePeftAdapter(join(folder, "merge-adapter"), run.executor, lora, run.base);
    const adapter = await openAdapter(await openPath(join(folder, "merge-adapter")), run.base.config);
    const { executor, report } = await mergeAdapter(run.base, adapter, run.heldOut, fastKernels());
    expect(report.lossAdapter).toBe(run.trainer.evaluate());
    const plain = await open({ lora: null });
    expect(report.lossBase).toBe(plain.trainer.evaluate(run.heldOut));
    expect(report.lossAdapter).toBeLessThan(report.lossBase);
    expect(report.nTrits).toBe(2 * (64 * (64 + 64 + 32 + 32) + 3 * 64 * 128));
    expect(report.nChanged).toBeGreaterThan(0);
    expect(report.nChanged).toBeLessThan(report.nTrits / 4);
    expect(report.divergence).toBeGreaterThan(0);
    const saved = await saveModel(join(folder, "merged"), executor, run.base, "f32");
    const merged = await open({ lora: null }, saved.gguf.slice(folder.length + 1));
    expect(merged.trainer.evaluate(run.heldOut)).toBe(report.lossMerged);
    for (const each of [run, plain, merged]) await each.close();
    await adapter.close();
  });

  it("of an adapter that does nothing changes nothing, with trits as with masters", async () => {
    for (const name of ["base.gguf", "base-hf"]) {
      const run = await open({}, name);
      const { lora } = run.settings;
      if (lora === null) throw new Error("no adapter");
      const path = join(folder, `idle-${name}`);
      await savePeftAdapter(path, run.executor, lora, run.base); // B is zero before the first step
      const adapter = await openAdapter(await openPath(path), run.base.config);
      const { report } = await mergeAdapter(run.base, adapter, run.heldOut, fastKernels());
      expect(report.nChanged).toBe(0);
      // Stored scales are bf16; masters give them in f32.
      expect(report.divergence).toBeLessThan(name === "base.gguf" ? 1e-12 : 1e-3);
      await run.close();
      await adapter.close();
    }
  });
});
