/** Whole runs on a small model: a run that was interrupted equals one that was not, and what disturbs the numbers is refused. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chatTemplateFor, tokenizerFromJson } from "@bitnet.ts/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeExample } from "../data/example.ts";
import { Mixture } from "../data/mixture.ts";
import { Executor } from "../graph/executor.ts";
import { smallShape } from "../graph/small-model.test.kit.ts";
import { recordTransformer } from "../graph/transformer.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { nativeKernels } from "../kernels/native-kernels.ts";
import { referenceKernels } from "../kernels/reference/reference-kernels.ts";
import { chatTemplate, controlTokens, tokenizerJson } from "../tokenizer/tokenizer-files.ts";
import { PieceCounter, trainBpe } from "../tokenizer/train-bpe.ts";
import { listCheckpoints } from "./checkpoint.ts";
import { initialise } from "./initialise.ts";
import { readLog } from "./log.ts";
import { defaultOptimizer, Optimizer } from "./optimizer.ts";
import { isEnd, rateAt, type Schedule, stageOf, totalSteps, weightDecayAt } from "./schedule.ts";
import { Trainer, type TrainerSettings } from "./trainer.ts";

const texts = ["the cat sat on the mat", "a dog ran to the cat", "one two three four five six", "the end"];
const vocabulary = (() => {
  const counter = new PieceCounter();
  for (const text of texts) counter.add(text, 5);
  return trainBpe(counter.counts, { vocabSize: 290, specialTokens: [...controlTokens] });
})();
const tokenizer = tokenizerFromJson(tokenizerJson(vocabulary, 64));
const encode = { tokenizer, template: chatTemplateFor(chatTemplate, "test") };

function fastKernels(threads = 2): Kernels {
  try {
    return nativeKernels({ threads });
  } catch {
    return referenceKernels("f32");
  }
}

const schedule: Schedule = {
  steps: 12,
  warmupSteps: 3,
  peakRate: 5e-3,
  decay: "linear",
  floorShare: 0.05,
  stage2Rate: 0.66,
  weightDecay: 0.1,
  stage1Share: 0.5,
};

const baseStages = [
  { shares: [1, 1], otherWeight: 1 },
  { shares: [1, 3], otherWeight: 0.1 },
];

function makeRun(folder: string, settings: Partial<TrainerSettings> = {}, kernels = fastKernels()) {
  const graph = recordTransformer({ ...smallShape, vocabSize: tokenizer.vocabSize, contextLength: 24 });
  const executor = new Executor(graph, kernels, { maxRows: 40 });
  const optimizer = new Optimizer(executor, defaultOptimizer);
  initialise(executor, 1);
  const sources = [
    { count: texts.length, at: (i: number) => ({ kind: "text" as const, text: texts[i] ?? "" }) },
    {
      count: null,
      at: (i: number) => ({
        kind: "chat" as const,
        messages: [
          { role: "user", content: `say ${i % 5}` },
          { role: "assistant", content: `${i % 5}` },
        ],
      }),
    },
  ];
  const heldOut = [encodeExample({ kind: "text", text: "the cat ran" }, { ...encode, otherWeight: 1 })];
  const trainer = new Trainer(
    {
      schedule,
      batchTokens: 60,
      microBatchTokens: 40,
      stages: baseStages,
      evaluateEvery: 4,
      checkpointEvery: 5,
      keepCheckpoints: 2,
      recipe: "r1",
      ...settings,
    },
    { executor, optimizer, mixture: new Mixture(sources, 1), encode, heldOut, folder },
  );
  return { trainer, executor, optimizer };
}

/** Hashes: a difference is told at once. */
const weightsOf = ({ executor, optimizer }: ReturnType<typeof makeRun>) =>
  [executor.parameters, optimizer.m, optimizer.v].map((list) => {
    const hash = createHash("sha256");
    for (const floats of list)
      hash.update(new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength));
    return hash.digest("hex");
  });
const logOf = (folder: string) =>
  readLog(join(folder, "log.jsonl")).flatMap((entry) => {
    if (entry.kind === "checkpoint") return [];
    const { seconds: _, tokensPerSecond: __, ...rest } = { seconds: 0, tokensPerSecond: 0, ...entry };
    return [rest];
  });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-run-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("a run", () => {
  it("that is stopped anywhere and resumed gives the bits, the log and the state of one that is not", async () => {
    const whole = makeRun(join(folder, "whole"), {}, fastKernels());
    mkdir(join(folder, "whole"));
    await whole.trainer.run();
    for (const stop of [1, 6, 7, 11]) {
      const path = join(folder, `stopped-${stop}`);
      mkdir(path);
      const controller = new AbortController();
      const first = makeRun(path);
      const onEntry = (entry: { kind: string; step: number }) => {
        if (entry.kind === "step" && entry.step === stop) controller.abort();
      };
      await expect(first.trainer.run({ onEntry, signal: controller.signal })).rejects.toThrow(/aborted/);
      const second = makeRun(path);
      expect(await second.trainer.resume()).toBe(true);
      expect(second.trainer.state.step).toBe(stop);
      await second.trainer.run();
      expect(weightsOf(second)).toEqual(weightsOf(whole));
      expect(second.trainer.state).toEqual(whole.trainer.state);
      expect(logOf(path)).toEqual(logOf(join(folder, "whole")));
    }
  });

  it("has the same bits with any number of threads", async () => {
    const runs = [];
    for (const threads of [1, 2, 3]) {
      const path = join(folder, `threads-${threads}`);
      mkdir(path);
      const run = makeRun(path, {}, fastKernels(threads));
      await run.trainer.run();
      runs.push([weightsOf(run), run.trainer.state, logOf(path)]);
    }
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
  });

  it("falls back to an older checkpoint when the newest is damaged, and cuts its log", async () => {
    mkdir(folder);
    const whole = makeRun(folder);
    await whole.trainer.run();
    const checkpoints = join(folder, "checkpoints");
    const [newest] = readdirSync(checkpoints).sort().reverse();
    const file = join(checkpoints, newest ?? "", "tensors.safetensors");
    const bytes = readFileSync(file);
    bytes[bytes.length - 7] = (bytes[bytes.length - 7] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const again = makeRun(folder);
    const notices: string[] = [];
    expect(await again.trainer.resume((line) => notices.push(line))).toBe(true);
    expect([notices.length, again.trainer.state.step]).toEqual([1, 10]);
    await again.trainer.run();
    expect(weightsOf(again)).toEqual(weightsOf(whole));
    expect(logOf(folder).map(({ step }) => step)).toEqual([1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 12]);
  });

  it("keeps the newest checkpoints and the best, and nothing half-written", async () => {
    mkdir(folder);
    const { trainer } = makeRun(folder, { checkpointEvery: 1, evaluateEvery: 1 });
    await trainer.run();
    const best = trainer.state.best?.step ?? 0;
    expect(listCheckpoints(trainer.checkpointFolder)).toEqual(
      [...new Set([12, 11, best])].sort((a, b) => b - a),
    );
    expect(readdirSync(trainer.checkpointFolder).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("refuses to resume with another recipe", async () => {
    mkdir(folder);
    await makeRun(folder).trainer.run();
    await expect(makeRun(folder, { recipe: "r2" }).trainer.resume()).rejects.toThrow(/another recipe/);
  });

  it("is extended by a further stage, exactly: from its end, from its middle, and as one run from the start", async () => {
    const extensions = [
      { steps: 5, warmupSteps: 2, peakRate: 2e-3, decay: "linear", floorShare: 0, weightDecay: 0.05 },
    ] as const;
    const extended: Partial<TrainerSettings> = {
      schedule: { ...schedule, extensions },
      stages: [...baseStages, { shares: [0, 1], otherWeight: 0.1 }],
      recipe: "r2",
      extends: [{ recipe: "r1", lastStep: 12 }],
    };
    const whole = makeRun(join(folder, "whole"), extended);
    mkdir(join(folder, "whole"));
    await whole.trainer.run();
    expect(whole.trainer.state.step).toBe(17);
    for (const stop of [7, 12]) {
      const path = join(folder, `from-${stop}`);
      mkdir(path);
      const controller = new AbortController();
      const onEntry = ({ kind, step }: { kind: string; step: number }) => {
        if (kind === "step" && step === stop) controller.abort();
      };
      await makeRun(path)
        .trainer.run({ onEntry, signal: controller.signal })
        .catch(() => {});
      const second = makeRun(path, extended);
      expect(await second.trainer.resume()).toBe(true);
      expect(second.trainer.state.step).toBe(stop);
      await second.trainer.run();
      expect(weightsOf(second)).toEqual(weightsOf(whole));
      expect(second.trainer.state).toEqual(whole.trainer.state);
      expect(logOf(path)).toEqual(logOf(join(folder, "whole")));
    }
  });

  it("stays as it is when it is extended by nothing, and does not go on from a longer run", async () => {
    mkdir(folder);
    const before = makeRun(folder);
    await before.trainer.run();
    const same = makeRun(folder, { schedule: { ...schedule, extensions: [] } });
    await same.trainer.resume();
    await same.trainer.run();
    expect(weightsOf(same)).toEqual(weightsOf(before));
    expect(same.trainer.state).toEqual(before.trainer.state);
    const unknown = makeRun(folder, { recipe: "r2", extends: [{ recipe: "r0", lastStep: 12 }] });
    await expect(unknown.trainer.resume()).rejects.toThrow(/nothing but extensions at its end/);
  });

  it("learns: the loss on a handful of texts falls far below that of a uniform model", async () => {
    mkdir(folder);
    const run = makeRun(folder, {
      schedule: { ...schedule, steps: 150 },
      evaluateEvery: 50,
      checkpointEvery: 1000,
    });
    await run.trainer.run();
    const losses = logOf(folder).flatMap((entry) => (entry.kind === "step" ? [entry.loss] : []));
    expect(losses[0]).toBeGreaterThan(5);
    expect(losses.at(-1)).toBeLessThan(1.5);
  });

  it("is not changed by evaluating", async () => {
    const weights = [];
    for (const evaluateEvery of [1, 1000]) {
      const path = join(folder, `${evaluateEvery}`);
      mkdir(path);
      const run = makeRun(path, { evaluateEvery });
      await run.trainer.run();
      weights.push(weightsOf(run));
    }
    expect(weights[0]).toEqual(weights[1]);
  });

  it("reports the step at which numbers break down, and leaves the weights alone", async () => {
    mkdir(folder);
    const run = makeRun(folder);
    (run.executor.parameters[1] as Float32Array).fill(Number.NaN);
    await expect(run.trainer.run()).rejects.toThrow(/step 1: .*NaN/);
  });
});

describe("schedules", () => {
  it("warm up, fall to the floor at the last step, and change stage in the middle", () => {
    const rates = Array.from({ length: 12 }, (_, i) => rateAt(schedule, i + 1));
    expect(rates[0]).toBeCloseTo(5e-3 / 3, 12);
    expect(rates[11]).toBeCloseTo(5e-3 * 0.05 * 0.66, 12);
    expect(rates.map((_, i) => stageOf(schedule, i + 1))).toEqual([1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    expect(stageOf({ ...schedule, steps: 13 }, 7)).toBe(1);
    expect([6, 7].map((step) => weightDecayAt(schedule, step))).toEqual([0.1, 0]);
    const extensions = [
      { steps: 4, warmupSteps: 2, peakRate: 1, decay: "linear", floorShare: 0, weightDecay: 0.2 },
      { steps: 3, warmupSteps: 0, peakRate: 2, decay: "constant", floorShare: 1, weightDecay: 0 },
    ] as const;
    const longer = { ...schedule, extensions };
    const early = { ...longer, extensions: [{ ...extensions[0], steps: 2, decaySteps: 4 }] };
    expect([13, 14].map((step) => rateAt(early, step))).toEqual([13, 14].map((step) => rateAt(longer, step)));
    expect(totalSteps(early)).toBe(14);
    const steps = Array.from({ length: 19 }, (_, i) => i + 1);
    expect(steps.slice(0, 12).map((step) => rateAt(longer, step))).toEqual(rates);
    expect(steps.slice(12).map((step) => rateAt(longer, step))).toEqual([
      0.5,
      1 - 1 / 3,
      1 - 2 / 3,
      0,
      2,
      2,
      2,
    ]);
    expect(steps.slice(11).map((step) => stageOf(longer, step))).toEqual([2, 3, 3, 3, 3, 4, 4, 4]);
    expect(steps.slice(11).map((step) => weightDecayAt(longer, step))).toEqual([
      0, 0.2, 0.2, 0.2, 0.2, 0, 0, 0,
    ]);
    expect(steps.filter((step) => isEnd(longer, step))).toEqual([12, 16, 19]);
    expect(totalSteps(longer)).toBe(19);
    const cosine = rateAt({ ...schedule, decay: "cosine", stage2Rate: 1, floorShare: 0, steps: 11 }, 6);
    expect(cosine).toBeCloseTo(2.5e-3, 9);
  });
});

describe("the optimiser", () => {
  it("decays matrices and not norms", () => {
    const { executor, optimizer } = makeRun(folder);
    const before = executor.parameters.map((weights) => weights.slice());
    executor.clearGradients();
    optimizer.step(1, 0.1, 0.5);
    executor.graph.parameters.forEach(({ shape, name }, id) => {
      const factor = (executor.parameters[id]?.[0] ?? 0) / (before[id]?.[0] ?? 1);
      expect(factor, name).toBeCloseTo(shape.length === 1 ? 1 : 0.95, 5);
    });
  });

  it("clips long gradients to the norm, and reports the norm", () => {
    const { executor, optimizer } = makeRun(folder);
    executor.clearGradients();
    (executor.gradients[0] as Float32Array)[0] = 30;
    (executor.gradients[1] as Float32Array)[0] = 40;
    expect(optimizer.step(1, 0, 0)).toBeCloseTo(50, 5);
    expect(optimizer.m[1]?.[0]).toBeCloseTo(0.1 * (40 / 50), 6);
  });
});

function mkdir(path: string): void {
  mkdirSync(path, { recursive: true });
}
