/**
 * Conformance cases of ropeKv and attention: ragged batches of prefill chunks and decode rows, scattered and shared pages,
 * page copies, both cache types and both pairings.
 */
import { type KvType, pageTokens } from "../backend.ts";
import type { OpOf } from "../operations.ts";
import type { Step } from "../step.ts";
import { CaseBuilder, type ConformanceCase } from "./case.ts";

interface AttentionShape {
  nHeads: number;
  nKvHeads: number;
  headDim: number;
  kvType: KvType;
  pairing: OpOf<"ropeKv">["pairing"];
  magnitude?: number;
  window?: number;
}

/** Rows of one step: sequence, first position, count. */
type Chunk = readonly [sequence: number, first: number, count: number];

const contextLength = 640;
const nPages = 64;

export function attentionCases(): ConformanceCase[] {
  const shapes: AttentionShape[] = [
    { nHeads: 1, nKvHeads: 1, headDim: 2, kvType: "f16", pairing: "half" },
    { nHeads: 4, nKvHeads: 2, headDim: 16, kvType: "f32", pairing: "half" },
    { nHeads: 8, nKvHeads: 2, headDim: 32, kvType: "f16", pairing: "half" },
    { nHeads: 3, nKvHeads: 1, headDim: 80, kvType: "f16", pairing: "adjacent" },
    { nHeads: 2, nKvHeads: 2, headDim: 6, kvType: "f32", pairing: "adjacent" },
    { nHeads: 4, nKvHeads: 1, headDim: 128, kvType: "f16", pairing: "half" },
    { nHeads: 2, nKvHeads: 1, headDim: 64, kvType: "f16", pairing: "half", magnitude: 1e5 },
    { nHeads: 8, nKvHeads: 1, headDim: 24, kvType: "f16", pairing: "half" },
    { nHeads: 4, nKvHeads: 2, headDim: 64, kvType: "f16", pairing: "half", window: 1 },
    { nHeads: 4, nKvHeads: 2, headDim: 64, kvType: "f32", pairing: "half", window: 40 },
    { nHeads: 2, nKvHeads: 1, headDim: 48, kvType: "f16", pairing: "half", window: 270 },
  ];
  return shapes.map(attentionCase);
}

function attentionCase(shape: AttentionShape, index: number): ConformanceCase {
  const { nHeads, nKvHeads, headDim, kvType, pairing, magnitude = 2, window = 0 } = shape;
  const b = new CaseBuilder(700 + index);
  const widths = [nHeads * headDim, nKvHeads * headDim, nKvHeads * headDim] as const;
  const q = b.f32("q", widths[0]);
  const k = b.f32("k", widths[1]);
  const v = b.f32("v", widths[2]);
  const out = b.f32("out", widths[0]);
  const kv = b.kv("kv", nKvHeads, headDim);
  const angles = Float32Array.from({ length: contextLength * headDim }, () => b.draw.even());
  const table = b.dense("table", "f32", contextLength, headDim, angles);
  b.add({ op: "ropeKv", q, k, v, kv, table, nHeads, pairing });
  b.add({ op: "attention", q, kv, out, nHeads, scale: Math.fround(1 / Math.sqrt(headDim)), window });

  // Three sequences over scattered pages; the third begins with the first page of the first, and goes on in a copy of its second.
  const page = (i: number) => (i * 37 + 11) % nPages;
  const ownPages = (from: number, count: number) => Array.from({ length: count }, (_, i) => page(from + i));
  const first = ownPages(0, 20);
  const pageTables = [first, ownPages(20, 6), [first[0] ?? 0, ...ownPages(26, 4)]].map((pages) =>
    Int32Array.from(pages),
  );
  const step = (chunks: readonly Chunk[], pageCopies?: Int32Array): Step => {
    const rows = chunks.flatMap(([sequence, from, count]) =>
      Array.from({ length: count }, (_, i) => ({ sequence, position: from + i })),
    );
    return {
      tokens: new Int32Array(rows.length),
      positions: Int32Array.from(rows, (row) => row.position),
      sequences: Int32Array.from(rows, (row) => row.sequence),
      pageTables,
      ...(pageCopies ? { pageCopies } : {}),
      heads: [],
      inputs: [q, k, v].map((buffer, i) => ({
        buffer,
        values: b.draw.floats(rows.length * (widths[i] ?? 0), magnitude),
      })),
      outputs: [q, k, out],
    };
  };
  const steps = [
    step([
      [0, 0, 37],
      [1, 0, 1],
    ]),
    step([
      [1, 1, 7],
      [0, 37, 1],
    ]),
    step([
      [0, 38, 260],
      [1, 8, 1],
    ]),
    step(
      [
        [2, pageTokens + 5, 3],
        [0, 298, 2],
        [1, 9, 20],
      ],
      Int32Array.of(first[1] ?? 0, page(26)),
    ),
    step([
      [0, 300, 240],
      [1, 29, 1],
      [2, pageTokens + 8, 1],
    ]),
    step([
      [0, 540, 1],
      [1, 30, 1],
      [2, pageTokens + 9, 1],
    ]),
  ];
  return {
    name: `attention ${nHeads}/${nKvHeads} heads of ${headDim}, ${kvType}, ${pairing}${window > 0 ? `, window ${window}` : ""}`,
    program: b.program("attention", { contextLength }),
    kvType,
    nPages,
    maxRows: 300,
    steps,
    ...(nHeads * headDim > 100 ? { slow: true } : {}),
  };
}
