/**
 * A Program: one model's forward pass as plain data, a flat list of operations (operations.ts) over named buffers. A model file
 * records it once; every backend runs it. It holds no device handles, and no functions but those that read a stream, so that it can be sent to a
 * worker, to C++ or to a GPU once its bytes are there. What varies per step (rows, positions, pages) is in step.ts.
 *
 * A backend is a machine that runs Programs. It knows nothing of architectures, tokenizers or sampling.
 */
import type { DenseType, Scale } from "../packing/packing.ts";
import { accessesIn, type BufferId, type OperationTable } from "./operation-table.ts";
import { type Op, operations } from "./operations.ts";

export type { BufferId } from "./operation-table.ts";
export type { Op } from "./operations.ts";

/**
 * Where weight bytes lie: a local file that a backend may map, memory, or somewhere that they are read from piece by piece while the program is
 * loaded (only for backends that say `streams`).
 */
export type SourceRef =
  | { kind: "file"; path: string; size: number }
  | { kind: "bytes"; name: string; bytes: Uint8Array }
  | {
      kind: "stream";
      name: string;
      size: number;
      /** As that of a ByteSource. */
      read(offset: number, length: number): Promise<Uint8Array>;
    };

export function sourceSize(source: SourceRef): number {
  return source.kind === "bytes" ? source.bytes.byteLength : source.size;
}

/** Index into `Program.sources`. */
export type SourceId = number;

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
 * - `kv`: one layer's keys and values for all pages of the arena, lives as long, written by `ropeKv` or `writeKv`;
 * - `activation`: [nRows, cols], lives for one step. `f32`, or `q8`: int8 values with one f32 scale s per row (q = x·s), or, with
 *   a `groupSize`, per row and group of so many columns.
 *   Readable after a step when `Step.outputs` names it; settable before when `Step.inputs` does (f32 only).
 */
export type BufferDecl =
  | { class: "weight"; name: string; tensor: TernaryTensor | DenseTensor }
  | { class: "kv"; name: string; nKvHeads: number; headDim: number }
  | { class: "activation"; name: string; type: "f32"; cols: number }
  | { class: "activation"; name: string; type: "q8"; cols: number; groupSize?: 128 };

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
export function accesses(
  op: Op,
  table: OperationTable = operations,
): { reads: readonly BufferId[]; writes: readonly BufferId[] } {
  return accessesIn(table, op);
}
