/** A layer's attention as a program, for tests of what the addon computes together. Answers are compared with the reference backend's. */
import type { BufferDecl, DenseTensor, Op, Program, Scale, SourceRef, Step } from "@bitnet.ts/core";
import { ternaryBytes } from "./test-program.test.kit.ts";

export interface AttentionShape {
  headDim: number;
  nHeads: number;
  nKvHeads: number;
  scaleKind: Scale["kind"];
  pairing: "half" | "adjacent";
  /** Whether an operation after all others reads q, k, v and y, which then have to be kept. */
  isKept: boolean;
  /** Whether an operation by row, kept ← kept + x, stands between q, k and v and their rotation. */
  isLate: boolean;
}

export const layer = { x: 0, xq: 1, q: 2, k: 3, v: 4, mean: 5, meanQ: 6, y: 7, kept: 8 } as const;

const cols = 128;
const contextLength = 192;

/** x ← x + W · quantise(norm(attention of x)); where results are kept, kept ← kept + each of those as wide as x. */
export function attentionLayer(shape: AttentionShape): Program {
  const { headDim, nHeads, nKvHeads } = shape;
  const width = nHeads * headDim;
  const kvWidth = nKvHeads * headDim;
  const sources: SourceRef[] = [];
  const bytesOf = (bytes: Uint8Array): number =>
    sources.push({ kind: "bytes", name: `source ${sources.length}`, bytes }) - 1;
  const f32 = (name: string, n: number): BufferDecl => ({ class: "activation", name, type: "f32", cols: n });
  const q8 = (name: string, n: number): BufferDecl => ({ class: "activation", name, type: "q8", cols: n });
  const scaleOf = (rows: number, nCols: number, size: number): Scale => {
    const values = (n: number) => Float32Array.from({ length: n }, (_, i) => size + (i % 37) / 512);
    if (shape.scaleKind === "tensor") return { kind: "tensor", value: size };
    if (shape.scaleKind === "row") return { kind: "row", values: values(rows) };
    return { kind: "group", size: 128, values: values((rows * nCols) / 128) };
  };
  const matrix = (name: string, rows: number, nCols: number, seed: number): BufferDecl => {
    const source = bytesOf(ternaryBytes(rows * Math.ceil(nCols / 128) * 32, seed));
    const scale = scaleOf(rows, nCols, seed / 640);
    return {
      class: "weight",
      name,
      tensor: { kind: "ternary", source, offset: 0, rows, cols: nCols, scale },
    };
  };
  const dense = (name: string, rows: number, values: Float32Array): BufferDecl => {
    const source = bytesOf(new Uint8Array(values.buffer));
    const tensor: DenseTensor = {
      kind: "dense",
      type: "f32",
      source,
      offset: 0,
      rows,
      cols: values.length / rows,
    };
    return { class: "weight", name, tensor };
  };
  const buffers = [
    f32("x", cols),
    q8("xq", cols),
    f32("q", width),
    f32("k", kvWidth),
    f32("v", kvWidth),
    f32("mean", width),
    q8("meanQ", width),
    f32("y", cols),
    f32("kept", cols),
    { class: "kv", name: "kv", nKvHeads, headDim } as const,
    matrix("wq", width, cols, 11),
    matrix("wk", kvWidth, cols, 12),
    matrix("wv", kvWidth, cols, 13),
    matrix("wo", cols, width, 14),
    dense("norm", 1, new Float32Array(cols).fill(1)),
    dense(
      "mean norm",
      1,
      Float32Array.from({ length: width }, (_, i) => 1 + i / width),
    ),
    dense(
      "rope",
      contextLength,
      Float32Array.from({ length: contextLength * headDim }, (_, i) => {
        const angle = Math.floor(i / headDim) / 3 ** (i % (headDim / 2));
        return i % headDim < headDim / 2 ? Math.cos(angle) : Math.sin(angle);
      }),
    ),
  ] satisfies BufferDecl[];
  const id = (name: string) => buffers.findIndex((buffer) => buffer.name === name);
  const { x, xq, q, k, v, mean, meanQ, y, kept } = layer;
  const kv = id("kv");
  const ops: Op[] = [
    { op: "rmsNormQuant", x, weight: id("norm"), out: xq, eps: 1e-5 },
    { op: "bitLinear", x: xq, weights: [id("wq"), id("wk"), id("wv")], outs: [q, k, v] },
    ...(shape.isLate ? [{ op: "residual", x: kept, y: x } as const] : []),
    { op: "ropeKv", q, k, v, kv, table: id("rope"), nHeads, pairing: shape.pairing },
    { op: "attention", q, kv, out: mean, nHeads, scale: headDim ** -0.5, window: 0 },
    { op: "rmsNormQuant", x: mean, weight: id("mean norm"), out: meanQ, eps: 1e-5 },
    { op: "bitLinear", x: meanQ, weights: [id("wo")], outs: [y] },
    { op: "residual", x, y },
  ];
  const asWideAsX = [q, k, v, y].filter((_, i) => [width, kvWidth, kvWidth, cols][i] === cols);
  if (shape.isKept) ops.push(...asWideAsX.map((other): Op => ({ op: "residual", x: kept, y: other })));
  return { name: "attention layer", contextLength, vocabSize: 0, sources, buffers, ops };
}

/** Rows of one sequence from `position` on. */
export function attentionStep(nRows: number, position: number, outputs: readonly number[]): Step {
  const wave = (rate: number) =>
    Float32Array.from({ length: nRows * cols }, (_, i) => Math.sin(i * rate + position));
  return {
    tokens: new Int32Array(nRows),
    positions: Int32Array.from({ length: nRows }, (_, i) => position + i),
    sequences: new Int32Array(nRows),
    pageTables: [Int32Array.from({ length: contextLength / 16 }, (_, i) => i)],
    heads: [],
    inputs: [
      { buffer: layer.x, values: wave(0.37) },
      { buffer: layer.kept, values: wave(0.11) },
    ],
    outputs,
  };
}
