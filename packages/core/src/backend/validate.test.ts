import { describe, expect, it } from "vitest";
import { BitNetError } from "../base/errors.ts";
import { CaseBuilder, plainStep } from "./conformance/case.ts";
import type { Program } from "./program.ts";
import type { Step } from "./step.ts";
import { validateStep } from "./validate.ts";
import { validateProgram } from "./validate-program.ts";

function smallProgram(change: (b: CaseBuilder, ids: Record<string, number>) => void = () => {}): Program {
  const b = new CaseBuilder(1);
  const x = b.f32("x", 100);
  const xq = b.q8("xq", 100);
  const q = b.f32("q", 32);
  const k = b.f32("k", 16);
  const v = b.f32("v", 16);
  const norm = b.dense("norm", "f32", 1, 100);
  const w = b.ternary("w", 32, 100, { kind: "tensor", value: 1 });
  const embedding = b.dense("embedding", "f16", 50, 100);
  const table = b.dense("table", "f32", 64, 8);
  const kv = b.kv("kv", 2, 8);
  change(b, { x, xq, q, k, v, norm, w, embedding, table, kv });
  b.add({ op: "embed", table: embedding, out: x });
  b.add({ op: "rmsNormQuant", x, weight: norm, out: xq, eps: 1e-5 });
  b.add({ op: "bitLinear", x: xq, weights: [w], outs: [q] });
  b.add({ op: "ropeKv", q, k, v, kv, table, nHeads: 4, pairing: "half" });
  b.add({ op: "head", x, weight: norm, eps: 1e-5, table: embedding });
  return b.program("small", { contextLength: 64, vocabSize: 50 });
}

function messageOf(action: () => void): string {
  try {
    action();
  } catch (error) {
    if (error instanceof BitNetError) return `${error.code} ${error.message}`;
    throw error;
  }
  return "accepted";
}

describe("validateProgram", () => {
  it("accepts a sound program", () => {
    expect(messageOf(() => validateProgram(smallProgram()))).toBe("accepted");
  });

  it.each<[string, (b: CaseBuilder, ids: Record<string, number>) => void, RegExp]>([
    [
      "a wrong width",
      (b, { xq, norm, q }) =>
        b.add({ op: "rmsNormQuant", x: q ?? 0, weight: norm ?? 0, out: xq ?? 0, eps: 1e-5 }),
      /"norm" is 1 × 100, expected 1 × 32/,
    ],
    [
      "a buffer that does not exist",
      (b, { x }) => b.add({ op: "residual", x: x ?? 0, y: 99 }),
      /buffer 99 does not exist/,
    ],
    [
      "the wrong class",
      (b, { w, x }) => b.add({ op: "residual", x: x ?? 0, y: w ?? 0 }),
      /"w" must be an f32 activation/,
    ],
    [
      "no matrices",
      (b, { xq }) => b.add({ op: "bitLinear", x: xq ?? 0, weights: [], outs: [] }),
      /0 weights and 0 outs/,
    ],
    [
      "heads that cannot be shared",
      (b, { q, x, kv }) =>
        b.add({ op: "attention", q: q ?? 0, kv: kv ?? 0, out: x ?? 0, nHeads: 3, scale: 1, window: 0 }),
      /nHeads 3 is no multiple of nKvHeads 2/,
    ],
    [
      "an infinite scale",
      (b) => b.ternary("bad", 1, 128, { kind: "tensor", value: Number.POSITIVE_INFINITY }),
      /"bad": scale Infinity/,
    ],
    [
      "odd groups",
      (b) => b.ternary("bad", 1, 384, { kind: "group", size: 192, values: new Float32Array(2) }),
      /groups of 192/,
    ],
    [
      "weights beyond their source",
      (b) => b.ternary("bad", 8, 128, { kind: "tensor", value: 1 }, new Uint8Array(255)),
      /"bad": bytes \d+…\d+ leave a source/,
    ],
  ])("refuses %s", (_, change, message) => {
    expect(messageOf(() => validateProgram(smallProgram(change)))).toMatch(message);
  });
});

describe("validateStep", () => {
  const program = smallProgram();
  const options = { kvType: "f16", nPages: 4, maxRows: 8 } as const;
  const good: Step = plainStep(2, {
    pageTables: [Int32Array.of(3, 1)],
    heads: [{ row: 1, want: { kind: "all" } }],
  });

  it("accepts a sound step", () => {
    expect(messageOf(() => validateStep(program, options, good))).toBe("accepted");
  });

  it.each<[string, Partial<Step>, RegExp]>([
    ["no rows", { tokens: new Int32Array() }, /0 rows, expected 1…8/],
    ["rows of different lengths", { tokens: new Int32Array(3) }, /differ in length/],
    ["a token beyond the vocabulary", { tokens: Int32Array.of(0, 50) }, /row 1: token 50 is not in 0…49/],
    ["a negative token", { tokens: Int32Array.of(-1, 0) }, /row 0: token -1/],
    ["a position beyond the context", { positions: Int32Array.of(0, 64) }, /position 64 is not in 0…63/],
    [
      "a position without a page",
      { pageTables: [Int32Array.of(3)], positions: Int32Array.of(31, 32) },
      /beyond the 1 pages/,
    ],
    ["positions that do not ascend", { positions: Int32Array.of(4, 4) }, /do not ascend/],
    ["a page outside the arena", { pageTables: [Int32Array.of(4)] }, /page 4 of sequence 0/],
    ["an unknown sequence", { sequences: Int32Array.of(0, 1) }, /sequence 1 has no page table/],
    ["half a page copy", { pageCopies: Int32Array.of(1) }, /pairs of pages/],
    [
      "two heads for one row",
      { heads: [0, 0].map((row) => ({ row, want: { kind: "all" } as const })) },
      /row 0 is out of range or repeated/,
    ],
    ["k of zero", { heads: [{ row: 0, want: { kind: "top", k: 0 } }] }, /k 0/],
    ["a negative margin", { heads: [{ row: 0, want: { kind: "above", margin: -1 } }] }, /margin -1/],
    [
      "temperature zero",
      { heads: [{ row: 0, want: { kind: "winner", temperature: 0, seed: 0, choice: 0, index: 0 } }] },
      /temperature 0/,
    ],
    [
      "a repeated apart id",
      { heads: [{ row: 0, want: { kind: "all" }, apart: Int32Array.of(1, 1) }] },
      /apart ids repeat/,
    ],
    [
      "a short mask",
      { heads: [{ row: 0, want: { kind: "all" }, allow: new Uint32Array(1) }] },
      /allow holds 1 words, expected 2/,
    ],
    [
      "an input of the wrong size",
      { inputs: [{ buffer: 0, values: new Float32Array(3) }] },
      /input "x" holds 3 values/,
    ],
    [
      "an input that is no activation",
      { inputs: [{ buffer: 5, values: new Float32Array(3) }] },
      /buffer 5 is not an f32/,
    ],
    ["an output that is no activation", { outputs: [5] }, /buffer 5 is not an activation/],
  ])("refuses %s", (_, change, message) => {
    expect(messageOf(() => validateStep(program, options, { ...good, ...change }))).toMatch(message);
  });
});
