/**
 * A Program: one model's forward pass as plain data, a flat list of fused operations over named buffers. A model file
 * records it once; every backend runs it. It holds no functions and no device handles, so that it can be sent to a
 * worker, to C++ or to a GPU as it is. What varies per step (rows, positions, pages) is in step.ts.
 *
 * A backend is a machine that runs Programs. It knows nothing of architectures, tokenizers or sampling.
 */
import type { DenseType, Scale } from "../packing/packing.ts";

/** Where weight bytes lie: a local file that a backend may map, or memory. */
export type SourceRef =
  | { kind: "file"; path: string; size: number }
  | { kind: "bytes"; name: string; bytes: Uint8Array };

/** Index into `Program.sources`. */
export type SourceId = number;
/** Index into `Program.buffers`. */
export type BufferId = number;

/**
 * Ternary matrix [rows, cols] in the compute layout: I2_S 128/32, each row padded to ceil(cols / 128) · 32 bytes with
 * code 1. `offset` is in bytes and may have any alignment. A `group` scale's size is a multiple of 128.
 */
export interface TernaryTensor {
  kind: "ternary";
  source: SourceId;
  offset: number;
  rows: number;
  cols: number;
  scale: Scale;
}

/** Dense matrix [rows, cols], row-major, each row contiguous; vectors have one row. */
export interface DenseTensor {
  kind: "dense";
  type: DenseType;
  source: SourceId;
  offset: number;
  rows: number;
  cols: number;
}

/**
 * Buffers by class, which is also their lifetime:
 * - `weight`: read-only, lives as long as the program is loaded;
 * - `kv`: one layer's keys and values for all pages of the arena, lives as long, written by `ropeKv`;
 * - `activation`: [nRows, cols], lives for one step. `f32`, or `q8`: int8 values with one f32 scale s per row (q = x·s).
 *   Readable after a step when `Step.outputs` names it; settable before when `Step.inputs` does (f32 only).
 */
export type BufferDecl =
  | { class: "weight"; name: string; tensor: TernaryTensor | DenseTensor }
  | { class: "kv"; name: string; nKvHeads: number; headDim: number }
  | { class: "activation"; name: string; type: "f32" | "q8"; cols: number };

/** out = table[token]. */
export interface EmbedOp {
  op: "embed";
  table: BufferId; // dense [vocab, cols]
  out: BufferId; // f32
}

/** out = quantise(rmsNorm(x) · weight): RMSNorm then int8 activation quantisation, per row. */
export interface RmsNormQuantOp {
  op: "rmsNormQuant";
  x: BufferId; // f32 [cols]
  weight: BufferId; // dense [1, cols]
  out: BufferId; // q8 [cols]
  eps: number;
}

/** outs[i] = weights[i] · x: several ternary matrices that share one quantised input. */
export interface BitLinearOp {
  op: "bitLinear";
  x: BufferId; // q8 [cols]
  weights: readonly BufferId[]; // ternary [rows_i, cols]
  outs: readonly BufferId[]; // f32 [rows_i]
}

/** Rotates q in place, rotates k, and writes k and v of every row to the KV cache of `kv` at the row's position. */
export interface RopeKvOp {
  op: "ropeKv";
  q: BufferId; // f32 [nHeads · headDim], modified
  k: BufferId; // f32 [nKvHeads · headDim], modified
  v: BufferId; // f32 [nKvHeads · headDim]
  kv: BufferId;
  /** Dense f32 [contextLength, headDim]: for each position headDim/2 cosines, then headDim/2 sines. */
  table: BufferId;
  nHeads: number;
  /** Which elements form a pair: i and i + headDim/2, or 2i and 2i + 1. */
  pairing: "half" | "adjacent";
}

/** out = softmax(q · Kᵀ · scale) · V, causal, over the row's own sequence; query head h reads KV head h / (nHeads / nKvHeads). */
export interface AttentionOp {
  op: "attention";
  q: BufferId; // f32 [nHeads · headDim]
  kv: BufferId;
  out: BufferId; // f32 [nHeads · headDim]
  nHeads: number;
  /** Multiplies every score; normally f32(1 / √headDim). */
  scale: number;
}

/** out = f(gate) · up; `relu2` is (g·g)·up with g = max(gate, 0). */
export interface GatedActivationOp {
  op: "gatedActivation";
  gate: BufferId; // f32 [cols]
  up: BufferId; // f32 [cols]
  out: BufferId; // f32 [cols]
  fn: "relu2" | "silu" | "gelu";
}

/** x = x + y. */
export interface ResidualOp {
  op: "residual";
  x: BufferId; // f32, modified
  y: BufferId; // f32
}

/** For the rows that the step's head requests name: logits = table · (rmsNorm(x) · weight), answered as asked. */
export interface HeadOp {
  op: "head";
  x: BufferId; // f32 [cols]
  weight: BufferId; // dense [1, cols]
  eps: number;
  table: BufferId; // dense [vocab, cols]
}

export type Op =
  | EmbedOp
  | RmsNormQuantOp
  | BitLinearOp
  | RopeKvOp
  | AttentionOp
  | GatedActivationOp
  | ResidualOp
  | HeadOp;

export interface Program {
  name: string;
  /** Positions run from 0 to contextLength − 1. */
  contextLength: number;
  /** Token ids run from 0 to vocabSize − 1; 0 when the program has neither embed nor head. */
  vocabSize: number;
  sources: readonly SourceRef[];
  buffers: readonly BufferDecl[];
  ops: readonly Op[];
}

/** The buffers that an operation reads and writes; a buffer modified in place is in both. */
export function accesses(op: Op): { reads: readonly BufferId[]; writes: readonly BufferId[] } {
  switch (op.op) {
    case "embed":
      return { reads: [op.table], writes: [op.out] };
    case "rmsNormQuant":
      return { reads: [op.x, op.weight], writes: [op.out] };
    case "bitLinear":
      return { reads: [op.x, ...op.weights], writes: op.outs };
    case "ropeKv":
      return { reads: [op.q, op.k, op.v, op.table], writes: [op.q, op.k, op.kv] };
    case "attention":
      return { reads: [op.q, op.kv], writes: [op.out] };
    case "gatedActivation":
      return { reads: [op.gate, op.up], writes: [op.out] };
    case "residual":
      return { reads: [op.x, op.y], writes: [op.x] };
    case "head":
      return { reads: [op.x, op.weight, op.table], writes: [] };
  }
}
