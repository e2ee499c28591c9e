/**
 * Small programs for the tests of this package, with seeded weights, and what they need of the addon. Answers are compared with the
 * reference backend's.
 */
import type { BufferDecl, LoadOptions, Op, Program, Scale, SourceRef, Step } from "@bitnet.ts/core";
import { loadBinding, type NativeBinding } from "./binding.ts";

const loaded = loadBinding();

/** Why tests that need the addon are skipped; null when they run. */
export const missingAddon = loaded.binding === null ? loaded.reason : null;

export function theBinding(): { binding: NativeBinding; path: string } {
  if (loaded.binding === null) throw new Error(loaded.reason);
  return loaded;
}

export const options: LoadOptions = { kvType: "f16", nPages: 8, maxRows: 64 };

/** Codes 0, 1 and 2 only: −1, 0, +1. */
export function ternaryBytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    const bits = state >>> 24;
    const high = bits & 0b10101010;
    return high | (bits & 0b01010101 & ~(high >> 1));
  });
}

interface ChainShape {
  cols: number;
  /** How often the one matrix is applied. */
  nLayers: number;
  /** The matrix as a source; by default seeded bytes in memory. */
  source?: SourceRef;
}

/** Bytes of the matrix of a chain. */
export function chainBytes({ cols }: ChainShape): number {
  return cols * (cols / 4);
}

/** x ← x + W · quantise(norm(x)), over and over with one square matrix. Input and output are `chainX`. */
export function chainProgram(shape: ChainShape): Program {
  const { cols, nLayers } = shape;
  const ones = new Uint8Array(new Float32Array(cols).fill(1).buffer);
  const sources: SourceRef[] = [
    shape.source ?? { kind: "bytes", name: "matrix", bytes: ternaryBytes(chainBytes(shape), 7) },
    { kind: "bytes", name: "norm", bytes: ones },
  ];
  const buffers: BufferDecl[] = [
    { class: "activation", name: "x", type: "f32", cols },
    { class: "activation", name: "xq", type: "q8", cols },
    { class: "activation", name: "y", type: "f32", cols },
    {
      class: "weight",
      name: "matrix",
      tensor: {
        kind: "ternary",
        source: 0,
        offset: 0,
        rows: cols,
        cols,
        scale: { kind: "tensor", value: 1 / 64 },
      },
    },
    {
      class: "weight",
      name: "norm",
      tensor: { kind: "dense", type: "f32", source: 1, offset: 0, rows: 1, cols },
    },
  ];
  const layer: Op[] = [
    { op: "rmsNormQuant", x: 0, weight: 4, out: 1, eps: 1e-5 },
    { op: "bitLinear", x: 1, weights: [3], outs: [2] },
    { op: "residual", x: 0, y: 2 },
  ];
  const ops = Array.from({ length: nLayers }, () => layer).flat();
  return { name: "chain", contextLength: 64, vocabSize: 0, sources, buffers, ops };
}

export const chainX = 0;

/** A step of the chain over `nRows` rows of seeded values. */
export function chainStep(cols: number, nRows: number): Step {
  const values = Float32Array.from({ length: nRows * cols }, (_, i) => Math.sin(i * 0.37));
  return {
    tokens: new Int32Array(nRows),
    positions: new Int32Array(nRows),
    sequences: new Int32Array(nRows),
    pageTables: [],
    heads: [],
    inputs: [{ buffer: chainX, values }],
    outputs: [chainX],
  };
}

export const gated = { x: 0, gate: 2, up: 3, out: 4 } as const;

/** out ← activation(W₁ · q, W₂ · q) with q = quantise(norm(x)), over square matrices; then x ← x + gate where that is asked for. */
export function gatedProgram(cols: number, scaleKind: Scale["kind"], isGateRead: boolean): Program {
  const bytes = (cols * cols) / 4;
  const scale = (size: number): Scale => {
    const values = (n: number) => Float32Array.from({ length: n }, (_, i) => size + i / 512);
    if (scaleKind === "tensor") return { kind: "tensor", value: size };
    if (scaleKind === "row") return { kind: "row", values: values(cols) };
    return { kind: "group", size: 128, values: values((cols * cols) / 128) };
  };
  const matrix = (name: string, source: number, size: number): BufferDecl => ({
    class: "weight",
    name,
    tensor: { kind: "ternary", source, offset: 0, rows: cols, cols, scale: scale(size) },
  });
  const f32 = (name: string): BufferDecl => ({ class: "activation", name, type: "f32", cols });
  return {
    name: "gated",
    contextLength: 64,
    vocabSize: 0,
    sources: [
      { kind: "bytes", name: "gate", bytes: ternaryBytes(bytes, 11) },
      { kind: "bytes", name: "up", bytes: ternaryBytes(bytes, 12) },
      { kind: "bytes", name: "norm", bytes: new Uint8Array(new Float32Array(cols).fill(1).buffer) },
    ],
    buffers: [
      f32("x"),
      { class: "activation", name: "xq", type: "q8", cols },
      f32("gate"),
      f32("up"),
      f32("out"),
      matrix("gate", 0, 1 / 64),
      matrix("up", 1, 1 / 32),
      {
        class: "weight",
        name: "norm",
        tensor: { kind: "dense", type: "f32", source: 2, offset: 0, rows: 1, cols },
      },
    ],
    ops: [
      { op: "rmsNormQuant", x: gated.x, weight: 7, out: 1, eps: 1e-5 },
      { op: "bitLinear", x: 1, weights: [5, 6], outs: [gated.gate, gated.up] },
      { op: "gatedActivation", gate: gated.gate, up: gated.up, out: gated.out, fn: "silu" },
      ...(isGateRead ? [{ op: "residual", x: gated.x, y: gated.gate } as const] : []),
    ],
  };
}

/** Rotates by nothing, then attends: with q = 0 the output is the mean of all values so far. */
export function cacheProgram(): Program {
  const headDim = 16;
  const contextLength = 128;
  const table = new Float32Array(contextLength * headDim);
  for (let i = 0; i < table.length; i++) table[i] = i % headDim < headDim / 2 ? 1 : 0;
  const activation = (name: string): BufferDecl => ({
    class: "activation",
    name,
    type: "f32",
    cols: headDim,
  });
  return {
    name: "cache",
    contextLength,
    vocabSize: 0,
    sources: [{ kind: "bytes", name: "rope", bytes: new Uint8Array(table.buffer) }],
    buffers: [
      activation("q"),
      activation("k"),
      activation("v"),
      activation("out"),
      { class: "kv", name: "kv", nKvHeads: 1, headDim },
      {
        class: "weight",
        name: "rope",
        tensor: { kind: "dense", type: "f32", source: 0, offset: 0, rows: contextLength, cols: headDim },
      },
    ],
    ops: [
      { op: "ropeKv", q: 0, k: 1, v: 2, kv: 4, table: 5, nHeads: 1, pairing: "half" },
      { op: "attention", q: 0, kv: 4, out: 3, nHeads: 1, scale: 0.25, window: 0 },
    ],
  };
}

/** One row at `position` over `pages`, whose value is `value` throughout. */
export function cacheStep(position: number, pages: readonly number[], value: number): Step {
  const row = (x: number) => new Float32Array(16).fill(x);
  return {
    tokens: Int32Array.of(0),
    positions: Int32Array.of(position),
    sequences: Int32Array.of(0),
    pageTables: [Int32Array.from(pages)],
    heads: [],
    inputs: [
      { buffer: 0, values: row(0) },
      { buffer: 1, values: row(0) },
      { buffer: 2, values: row(value) },
    ],
    outputs: [3],
  };
}
