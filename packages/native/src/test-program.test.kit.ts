/**
 * Small programs for the tests of this package, with seeded weights, and what they need of the addon. Answers are compared with the
 * reference backend's.
 */
import type { BufferDecl, LoadOptions, Op, Program, SourceRef, Step } from "@bitnet.ts/core";
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
      { op: "attention", q: 0, kv: 4, out: 3, nHeads: 1, scale: 0.25 },
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
