/**
 * Heads that are hard to screen: tables whose rows tie, hide as much as int8 can, or leave it; rows of x that stand out; requests of
 * every kind. All seeded.
 */
import type { DenseType, HeadRequest, HeadWant, Program, Step } from "@bitnet.ts/core";

/** Small seeded generator (mulberry32), uniform in [0, 1). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface HeadCase {
  name: string;
  type: DenseType;
  vocabSize: number;
  cols: number;
  /** Element of the table, row-major. */
  weight: (row: number, col: number, next: () => number) => number;
  /** Element of the norm's weight: the size of a column of x. */
  norm?: (col: number) => number;
  /** Element of row `i` of the input. */
  x?: (i: number, col: number, next: () => number) => number;
}

const even = (next: () => number) => 2 * next() - 1;
const sign = (i: number) => (Math.imul(i + 1, 0x9e3779b1) < 0 ? -1 : 1);

/**
 * What a row hides adds up: its largest weight makes the scale 1, all others lie at most half a step off a level, on the side of x's
 * signs or on the other. So rows that the copy cannot tell apart differ by as much as it can hide.
 */
function hiding(row: number, col: number, cols: number, next: () => number): number {
  if (col === cols - 1) return 127;
  const level = (Math.imul(row >> 2, 31) + Math.imul(col, 17)) % 5;
  const side = row % 2 === 0 ? 0.49 : -0.49;
  return sign(col) * (level + side + 0.005 * even(next));
}

const plain = (_row: number, _col: number, next: () => number) => even(next);

export function headCases(): HeadCase[] {
  const shapes = [
    [1, 1],
    [5, 3],
    [63, 16],
    [64, 37],
    [65, 64],
    [300, 100],
    [1027, 129],
    [1500, 256],
  ] as const;
  const types: readonly DenseType[] = ["f32", "f16", "bf16"];
  return [
    ...shapes.map(([vocabSize, cols], i) => named("plain", types[i % 3] ?? "f32", vocabSize, cols, plain)),
    ...(["q8_0", "q4_0"] as const).map((type) => named("blocks", type, 400, 96, plain)),
    named("blocks", "q6_k", 300, 256, plain),
    named("trits", "trits", 300, 256, plain),
    named("equal rows", "f16", 900, 64, (row, col) => sign(Math.imul(row % 7, 1000) + col) / 8),
    named("all rows alike", "bf16", 900, 64, (_row, col) => sign(col) / 4),
    named("nearly alike", "f32", 1200, 80, (row, col) => sign(col) / 4 + ((row * 7919) % 1200) * 1e-7),
    named("zero rows", "f16", 700, 48, (row, _col, next) => (row % 3 === 0 ? 0 : even(next) * 1e-3)),
    named("nothing but zeros", "f32", 300, 32, () => 0),
    named("outlier weights", "f32", 800, 70, (row, col, next) => even(next) * (col === row % 70 ? 1e4 : 1)),
    named("rows of all sizes", "f32", 800, 70, (row, _col, next) => even(next) * 10 ** ((row % 13) - 6)),
    named("subnormal", "f32", 500, 40, (_row, _col, next) => even(next) * 1e-41),
    named("tiny", "f32", 500, 40, (_row, _col, next) => even(next) * 1e-33),
    named("subnormal halves", "f16", 500, 40, (_row, _col, next) => even(next) * 2e-7),
    named("large", "f32", 500, 40, (_row, _col, next) => even(next) * 1e17),
    {
      ...named("large against large", "f32", 300, 40, (_row, _col, next) => even(next) * 1e18),
      norm: () => 1e18,
    },
    // Rows of x that are small beside eps come out small; the others overflow.
    {
      ...named("overflow now and then", "f32", 300, 40, (_row, _col, next) => even(next) * 1e18),
      norm: () => 1e22,
      x: (i, _col, next) => even(next) * (i % 3 === 0 ? 1 : 1e-12),
    },
    {
      ...named("hiding", "f32", 1000, 100, (row, col, next) => hiding(row, col, 100, next)),
      x: (_i, c) => sign(c),
    },
    {
      ...named("hiding halves", "f16", 1200, 333, (row, col, next) => hiding(row, col, 333, next)),
      x: (_i, c) => sign(c),
    },
    { ...named("outlier columns", "f16", 1000, 256, plain), norm: (col) => (col % 100 === 7 ? 300 : 1) },
    {
      ...named("hiding beside outliers", "f32", 1000, 256, (row, col, next) => hiding(row, col, 256, next)),
      x: (_i, col) => sign(col),
      norm: (col) => (col % 60 === 3 ? 40 : 1),
    },
    { ...named("all of x in one column", "f16", 600, 64, plain), x: (i, col) => (col === i % 64 ? 1 : 0) },
    { ...named("x is zero", "f16", 300, 64, plain), x: () => 0 },
    { ...named("x is tiny", "f32", 400, 64, plain), norm: () => 1e-38 },
    { ...named("x is small", "f16", 400, 64, plain), norm: () => 1e-12 },
  ];
}

function named(
  name: string,
  type: DenseType,
  vocabSize: number,
  cols: number,
  weight: HeadCase["weight"],
): HeadCase {
  return { name: `${name}, ${type} ${vocabSize} × ${cols}`, type, vocabSize, cols, weight };
}

const blockBytes: Partial<Record<DenseType, readonly [elements: number, bytes: number, scaleAt: number]>> = {
  q8_0: [32, 34, 0],
  q4_0: [32, 18, 0],
  q6_k: [256, 210, 208],
  trits: [128, 34, 0],
};

function tableBytes(
  { type, vocabSize, cols, weight }: HeadCase,
  next: () => number,
): Uint8Array<ArrayBuffer> {
  const block = blockBytes[type];
  if (block) {
    const [elements, size, scaleAt] = block;
    const bytes = Uint8Array.from({ length: ((vocabSize * cols) / elements) * size }, () => next() * 256);
    // f16 scales from 2⁻¹⁰ to 2⁻⁷, both signs.
    for (let at = scaleAt; at < bytes.length; at += size) {
      bytes[at] = next() * 256;
      bytes[at + 1] = 0x14 + Math.floor(next() * 12) + (next() < 0.3 ? 0x80 : 0);
    }
    return bytes;
  }
  const values = new Float32Array(vocabSize * cols);
  for (let row = 0, i = 0; row < vocabSize; row++)
    for (let col = 0; col < cols; col++) values[i++] = weight(row, col, next);
  if (type === "f32") return new Uint8Array(values.buffer);
  return new Uint8Array(Uint16Array.from(values, type === "f16" ? toHalf : toBrain).buffer);
}

/** Truncated; only has to be a value of the type. */
function toBrain(x: number): number {
  return (new Uint32Array(Float32Array.of(x).buffer)[0] ?? 0) >>> 16;
}

/** Truncated, without infinities. */
function toHalf(x: number): number {
  const size = Math.min(Math.abs(x), 65504);
  const signBit = x < 0 ? 0x8000 : 0;
  if (size < 2 ** -24) return signBit;
  const exponent = Math.max(Math.floor(Math.log2(size)), -14);
  const fraction = Math.floor((size / 2 ** exponent) * 1024);
  return signBit | (exponent === -14 ? fraction : ((exponent + 15) << 10) + (fraction - 1024));
}

/** A head and nothing else; its input is buffer 0. */
export function headProgram(head: HeadCase): Program {
  const { type, vocabSize, cols, norm = () => 1 } = head;
  const weight = Float32Array.from({ length: cols }, (_, col) => norm(col));
  return {
    name: head.name,
    contextLength: 64,
    vocabSize,
    sources: [
      { kind: "bytes", name: "table", bytes: tableBytes(head, random(vocabSize + cols)) },
      { kind: "bytes", name: "norm", bytes: new Uint8Array(weight.buffer) },
    ],
    buffers: [
      { class: "activation", name: "x", type: "f32", cols },
      {
        class: "weight",
        name: "table",
        tensor: { kind: "dense", type, source: 0, offset: 0, rows: vocabSize, cols },
      },
      {
        class: "weight",
        name: "norm",
        tensor: { kind: "dense", type: "f32", source: 1, offset: 0, rows: 1, cols },
      },
    ],
    ops: [{ op: "head", x: 0, weight: 2, eps: 1e-5, table: 1 }],
  };
}

/** A step of one row for each request. */
export function headStep(
  { cols, x = (_i, _c, next) => even(next) }: HeadCase,
  requests: readonly Omit<HeadRequest, "row">[],
  seed: number,
): Step {
  const next = random(seed);
  const nRows = requests.length;
  const values = Float32Array.from({ length: nRows * cols }, (_, i) =>
    x(Math.floor(i / cols) + seed, i % cols, next),
  );
  return {
    tokens: new Int32Array(nRows),
    positions: new Int32Array(nRows),
    sequences: new Int32Array(nRows),
    pageTables: [],
    heads: requests.map((request, row) => ({ row, ...request })),
    inputs: [{ buffer: 0, values }],
  };
}

const wants: readonly HeadWant[] = [
  { kind: "top", k: 1 },
  { kind: "top", k: 7 },
  { kind: "top", k: 40 },
  { kind: "top", k: 256 },
  { kind: "top", k: 257 },
  { kind: "above", margin: 0 },
  { kind: "above", margin: 1.5 },
  { kind: "above", margin: 1e30 },
  { kind: "winner", temperature: 0.7, seed: 42, choice: 0, index: 3 },
  { kind: "winner", temperature: 30, seed: 7, choice: 1, index: 99 },
  { kind: "winner", temperature: 2 ** -20, seed: 7, choice: 1, index: 1 },
  { kind: "all" },
];

/** Every want plain, with ids apart, with a mask of some ids and of a few; some with a log-sum-exp. */
export function headRequests(vocabSize: number): Omit<HeadRequest, "row">[] {
  const next = random(vocabSize);
  const words = Math.ceil(vocabSize / 32);
  const apart = () => {
    const ids = new Set<number>();
    for (let i = 0; i < 9; i++) ids.add(Math.floor(next() * vocabSize));
    return Int32Array.from(ids);
  };
  const half = () => Uint32Array.from({ length: words }, () => next() * 2 ** 32);
  const few = () => Uint32Array.from({ length: words }, (_, i) => (i % 9 === 4 ? 1 << (next() * 32) : 0));
  return wants.flatMap((want, i): Omit<HeadRequest, "row">[] => [
    { want },
    { want, apart: apart() },
    { want, allow: half(), ...(i % 4 === 3 ? { logSumExp: true } : {}) },
    { want, allow: few(), apart: apart() },
  ]);
}
