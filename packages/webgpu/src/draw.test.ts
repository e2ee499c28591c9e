/** Tokens that the device draws: those of the sampler on the very logits that the device has, one by one and several with one readback. */
import {
  answerDraw,
  type DrawWant,
  type Executable,
  type GenerateOptions,
  type HeadRequest,
  type Program,
  Scheduler,
  type Step,
  threefry,
} from "@bitnet.ts/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebGpuBackend } from "./backend.ts";
import { Device } from "./device.ts";
import { backend } from "./test-device.test.kit.ts";

const options = { kvType: "f16", nPages: 32, maxRows: 32 } as const;
const prompt = Int32Array.of(3, 1, 4, 1, 5);
/** Two stretches, or three on small cards, the last one short. */
const [vocabSize, cols] = [2300, 8];

/** A model of nothing but an embedding and a head: what follows on a token depends on it alone. */
function embeddingAndHead(): Program {
  const values = Float32Array.from(
    { length: 2 * (vocabSize + 1) * cols },
    (_, i) => (threefry(5, 6, i, 0) / 2 ** 31 - 1) * (i < vocabSize * cols ? 1 : 1.6),
  );
  // The weight of the norm.
  values.fill(1, vocabSize * cols, (vocabSize + 1) * cols);
  const dense = (name: string, rows: number, firstRow: number) =>
    ({
      class: "weight",
      name,
      tensor: { kind: "dense", type: "f32", source: 0, offset: 4 * cols * firstRow, rows, cols },
    }) as const;
  return {
    ...{ name: "embedding and head", contextLength: 512, vocabSize },
    sources: [{ kind: "bytes", name: "made up", bytes: new Uint8Array(values.buffer) }],
    buffers: [
      { class: "activation", name: "x", type: "f32", cols },
      dense("embedding", vocabSize, 0),
      dense("norm", 1, vocabSize),
      dense("table", vocabSize, vocabSize + 1),
    ],
    ops: [
      { op: "embed", table: 1, out: 0 },
      { op: "head", x: 0, weight: 2, eps: 1e-5, table: 3 },
    ],
  };
}

const program = embeddingAndHead();
let device: Device;
let executable: Executable;
let readBytes = 0;

beforeAll(async () => {
  if (backend === null) return;
  device = await Device.open();
  executable = await new WebGpuBackend(device).load(program, options);
  const create = device.gpu.createCommandEncoder.bind(device.gpu);
  device.gpu.createCommandEncoder = () => {
    const encoder = create();
    const copy = encoder.copyBufferToBuffer.bind(encoder) as (...given: unknown[]) => void;
    encoder.copyBufferToBuffer = ((...given: unknown[]) => {
      readBytes += Number(given.at(-1));
      copy(...given);
    }) as typeof encoder.copyBufferToBuffer;
    return encoder;
  };
});
afterAll(async () => {
  await executable?.dispose();
  device?.destroy();
});

const plain: DrawWant = {
  ...{ kind: "draw", temperature: 0.7, topK: 0, typicalP: 1, topP: 1, minP: 0, seed: 0, choice: 0, index: 0 },
  ...{ nBest: 0, penalties: { repeat: 1, frequency: 0, presence: 0 } },
  ...{ counts: new Int32Array(), biases: new Float32Array() },
};

/** A row for each request, of different tokens. */
function stepOf(heads: readonly Omit<HeadRequest, "row">[]): Step {
  const n = heads.length;
  return {
    tokens: Int32Array.from({ length: n }, (_, i) => 3 + i),
    positions: Int32Array.from({ length: n }, (_, i) => i),
    sequences: new Int32Array(n),
    pageTables: [Int32Array.of(0)],
    heads: heads.map((head, row) => ({ row, ...head })),
  };
}

const touched = Int32Array.of(1, 7, 8, 100, 200);

describe.skipIf(backend === null)("a draw on the device", { timeout: 180_000 }, () => {
  it.each<[string, Partial<DrawWant>, number]>([
    ["temperature alone", {}, 0],
    ["top-p", { topP: 0.9 }, 0.1],
    ["a narrow top-p, and min-p", { topP: 0.3, minP: 0.01, temperature: 1.2 }, 0.35],
    ["top-k, top-p and min-p", { topK: 40, topP: 0.9, minP: 0.02, temperature: 2 }, 0],
    ["the highest of changed logits", { temperature: 0 }, 0],
  ])(
    "is that of the sampler on the same logits, and seldom left to it: %s",
    async (_, settings, mostOpen) => {
      const n = 12;
      const heads = Array.from({ length: n }, (_, i) => {
        const isTouched = i % 2 === 1;
        return {
          want: {
            ...{ ...plain, ...settings, seed: 77 * i, choice: i % 3, index: i },
            ...(isTouched
              ? {
                  penalties: { repeat: 1.3, frequency: 0.2, presence: 0.1 },
                  counts: Int32Array.of(1, 0, 3, 2, 1),
                  biases: Float32Array.of(0, 2.5, Number.NEGATIVE_INFINITY, -1, 0),
                }
              : {}),
          },
          ...(isTouched ? { apart: touched } : {}),
        };
      });
      readBytes = 0;
      const found = (await executable.run(stepOf(heads))).heads;
      const nOpen = Math.floor(readBytes / (4 * vocabSize));
      const all = (await executable.run(stepOf(heads.map(() => ({ want: { kind: "all" } as const }))))).heads;
      for (const [row, head] of heads.entries())
        expect(found[row]).toEqual(
          answerDraw({ row, ...head }, head.want, all[row]?.logits ?? new Float32Array()),
        );
      expect(nOpen / n).toBeLessThanOrEqual(mostOpen);
      expect(new Set(found.map(({ ids }) => ids[0])).size).toBeGreaterThan(n / 2);
    },
  );

  it("that a rounding could decide is left to the sampler", async () => {
    const [both] = (await executable.run(stepOf([{ want: { kind: "top", k: 2 } }]))).heads;
    // A bias that makes the second as high as the first, as near as f32 can.
    const [high = 0, low = 0] = both?.logits ?? [];
    const apart = Int32Array.of(both?.ids[1] ?? 0);
    const want = { ...plain, temperature: 0, counts: new Int32Array(1), biases: Float32Array.of(high - low) };
    readBytes = 0;
    const [found] = (await executable.run(stepOf([{ want, apart }]))).heads;
    expect(readBytes).toBeGreaterThan(4 * vocabSize);
    const [all] = (await executable.run(stepOf([{ want: { kind: "all" } }]))).heads;
    expect(found).toEqual(answerDraw({ row: 0, want, apart }, want, all?.logits ?? new Float32Array()));
  });

  it("that the device cannot make is made of all logits, and one among none says so", async () => {
    const words = Math.ceil(vocabSize / 32);
    const wants: Omit<HeadRequest, "row">[] = [
      { want: { ...plain, typicalP: 0.5 } },
      { want: { ...plain, topK: 100 } },
      { want: { ...plain, nBest: 3 }, logSumExp: true },
      { want: { ...plain, minP: 1e-40 } },
      { want: plain, allow: new Uint32Array(words) },
      { want: plain, allow: new Uint32Array(words).fill(0x11111111) },
    ];
    const found = (await executable.run(stepOf(wants))).heads;
    const all = (await executable.run(stepOf(wants.map(() => ({ want: { kind: "all" } as const }))))).heads;
    for (const [row, request] of wants.entries())
      expect(found[row]).toEqual(
        answerDraw({ row, ...request }, request.want as DrawWant, all[row]?.logits ?? new Float32Array()),
      );
    expect(found[4]?.ids[0]).toBe(-1);
    expect((found[5]?.ids[0] ?? 0) % 4).toBe(0);
  });
});

/** The same device without chains. */
function unchained(): Executable {
  const { wants } = executable;
  return {
    ...{ program, wants },
    run: (step) => executable.run(step),
    releasePages: (pages) => executable.releasePages(pages),
    memory: () => executable.memory(),
    reports: () => executable.reports(),
    dispose: async () => {},
  };
}

function counted() {
  const steps = { chained: 0, waits: 0 };
  const counting: Executable = {
    ...unchained(),
    mostChained: executable.mostChained ?? 1,
    run: (step) => {
      steps.waits++;
      return executable.run(step);
    },
    runChain: async (step, count) => {
      const results = (await executable.runChain?.(step, count)) ?? [];
      steps.waits++;
      steps.chained += results.length;
      return results;
    },
  };
  return { steps, counting };
}

async function textsOf(machine: Executable, wanted: readonly GenerateOptions[]): Promise<number[][]> {
  const scheduler = new Scheduler(machine, { nPages: options.nPages });
  const results = await Promise.all(wanted.map((each) => scheduler.generate(prompt, each).result));
  await scheduler.dispose();
  return results.map(({ ids }) => [...ids]);
}

describe.skipIf(backend === null)("a text of chained draws", { timeout: 180_000 }, () => {
  it.each<[string, GenerateOptions]>([
    ["the default sampler", {}],
    [
      "top-k, top-p and biases",
      { topK: 40, topP: 0.95, frequencyPenalty: 0.5, logitBias: { 5: 3, 9: Number.NEGATIVE_INFINITY } },
    ],
    // Each comes again as soon as it has left the window.
    [
      "five tokens in turn",
      {
        temperature: 0,
        frequencyPenalty: 100,
        repeatLastN: 4,
        logitBias: { 5: 50, 6: 50, 7: 50, 8: 50, 9: 50 },
      },
    ],
  ])("is that of single ones: %s", async (_, sampling) => {
    const wanted = [{ maxTokens: 11, seed: 5, ...sampling }];
    const { steps, counting } = counted();
    const chained = await textsOf(counting, wanted);
    expect(chained).toEqual(await textsOf(unchained(), wanted));
    expect(chained[0]).toHaveLength(11);
    expect(steps.chained).toBeGreaterThan(5);
    expect(steps.waits).toBeLessThan(7);
  });

  it("beside a greedy one is that of each alone", async () => {
    const wanted = [
      { maxTokens: 12, seed: 5 },
      { maxTokens: 12, temperature: 0, repeatPenalty: 1, logitBias: { 9: Number.NEGATIVE_INFINITY } },
    ];
    const { steps, counting } = counted();
    const together = await textsOf(counting, wanted);
    for (const [i, each] of wanted.entries())
      expect(together[i]).toEqual((await textsOf(unchained(), [each]))[0]);
    expect(steps.chained).toBeGreaterThan(5);
  });
});
