/** Every format against the answers of an independent implementation, on every backend. */
import type { Backend, Executable, KvType } from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import {
  bindTiny,
  type GoldenPrompt,
  golden,
  nativeFor,
  reference,
  tinyModels,
  usableIsas,
  wasm,
  webgpu,
} from "./tiny-model.ts";

/** One sequence in the first pages of the arena. */
class Session {
  private readonly executable: Executable;
  private position = 0;

  constructor(executable: Executable) {
    this.executable = executable;
  }

  /** All logits after the last of `tokens`. */
  async feed(tokens: readonly number[]): Promise<Float32Array> {
    const first = this.position;
    this.position += tokens.length;
    const { heads } = await this.executable.run({
      tokens: Int32Array.from(tokens),
      positions: Int32Array.from(tokens, (_, i) => first + i),
      sequences: new Int32Array(tokens.length),
      pageTables: [Int32Array.from({ length: 8 }, (_, i) => i)],
      heads: [{ row: tokens.length - 1, want: { kind: "all" } }],
    });
    return heads[0]?.logits ?? new Float32Array();
  }
}

function argmax(logits: Float32Array): number {
  return logits.reduce((best, logit, id) => (logit > (logits[best] ?? 0) ? id : best), 0);
}

type Logit = readonly [id: number, logit: number];

/** Largest difference from golden logits. */
function logitError(logits: Float32Array, expected: readonly Logit[]): number {
  return Math.max(...expected.map(([id, logit]) => Math.abs((logits[id] ?? Number.NaN) - logit)));
}

interface Tolerance {
  kvType: KvType;
  /** Which logits of the last prompt position are compared, and how far off they may be. */
  logits: (prompt: GoldenPrompt) => readonly Logit[];
  logit: (prompt: GoldenPrompt) => number;
  /** Greedy steps whose golden margin is larger must agree. */
  margin: number;
}

const exact: Tolerance = {
  kvType: "f32",
  logits: (prompt) => [
    ...prompt.last_logits_top10,
    ...prompt.last_logits_first16.map((logit, id): Logit => [id, logit]),
  ],
  logit: (prompt) => Math.max(3e-3, 3 * prompt.f32_f64_max_abs_diff),
  margin: 0.01,
};
const halfPrecision: Tolerance = {
  kvType: "f16",
  logits: (prompt) => prompt.last_logits_top10,
  logit: () => 0.05,
  margin: 0.05,
};

/** @param maxIds Greedy steps to follow, where 40 would take the reference too long; `prompts` likewise. */
async function checkPrompts(
  path: string,
  backend: Backend,
  tolerance: Tolerance,
  maxIds = 40,
  prompts = golden.prompts,
): Promise<void> {
  const { kvType, margin } = tolerance;
  const { program, tokenizer } = await bindTiny(path);
  const executable = await backend.load(program, { kvType, nPages: 8, maxRows: 64 });
  try {
    for (const prompt of prompts) {
      expect(Array.from(tokenizer.encode(prompt.text, { bos: true }))).toEqual(prompt.ids);
      const session = new Session(executable);
      let logits = await session.feed(prompt.ids);
      expect(logitError(logits, tolerance.logits(prompt)), prompt.text).toBeLessThanOrEqual(
        tolerance.logit(prompt),
      );
      // From the first near tie on, two correct implementations may part.
      const nearTie = prompt.greedy_margins.findIndex((value) => value <= margin);
      const sure = prompt.greedy_ids.slice(0, Math.min(maxIds, nearTie < 0 ? maxIds : nearTie));
      const ids: number[] = [];
      while (ids.length < sure.length) {
        ids.push(argmax(logits));
        logits = await session.feed(ids.slice(-1));
      }
      expect(ids, prompt.text).toEqual(sure);
      if (sure.length === prompt.greedy_ids.length) expect(tokenizer.decode(ids)).toBe(prompt.greedy_text);
    }
  } finally {
    await executable.dispose();
  }
}

const formats = Object.entries(tinyModels);
const [best] = usableIsas();

describe("golden answers, reference backend", () => {
  it.each(formats)("%s, f32 cache", (_, path) => checkPrompts(path, reference(), exact, 3));
  it("i2_s, f32 cache, whole texts", () => checkPrompts(tinyModels.i2_s, reference(), exact));
  it("i2_s, f16 cache", () => checkPrompts(tinyModels.i2_s, reference(), halfPrecision, 3));
});

describe("golden answers, wasm backend", () => {
  it.each(formats)("%s, f32 cache, 2 threads", async (_, path) => checkPrompts(path, await wasm(2), exact));
  it("i2_s, f16 cache, 1 thread", async () => checkPrompts(tinyModels.i2_s, await wasm(1), halfPrecision));
});

const gpu = await webgpu();

describe.skipIf(gpu === null)("golden answers, webgpu backend", () => {
  const there = () => gpu ?? reference();
  // A software adapter takes a second or so for a step.
  const [first, second] = golden.prompts.map((prompt) => [prompt]);
  it("i2_s, f32 cache", () => checkPrompts(tinyModels.i2_s, there(), exact, 6, first));
  it("hf bf16, f16 cache", () => checkPrompts(tinyModels["hf bf16"], there(), halfPrecision, 3, second));
});

describe.skipIf(best === undefined)("golden answers, native backend", () => {
  const native = () => nativeFor(best ?? "scalar", 2);
  it.each(formats)("%s, f32 cache", async (_, path) => checkPrompts(path, await native(), exact));
  it.each(formats)("%s, f16 cache", async (_, path) => checkPrompts(path, await native(), halfPrecision));
});
