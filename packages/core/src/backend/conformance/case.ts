/**
 * What a conformance case is: a small Program, how to load it, and Steps to run in order. Cases are data, so that any test
 * runner can run them on any backend; compare.ts judges the answers.
 */
import { f32ToBf16, f32ToF16 } from "../../base/float16.ts";
import { threefry } from "../../base/noise.ts";
import { computeRowBytes } from "../../packing/compute-layout.ts";
import { denseByteLength } from "../../packing/dense.ts";
import type { DenseType, Scale } from "../../packing/packing.ts";
import type { KvType } from "../backend.ts";
import type { BufferDecl, BufferId, Op, Program, SourceRef } from "../program.ts";
import type { HeadWantKind, Step } from "../step.ts";

export interface ConformanceCase {
  name: string;
  program: Program;
  kvType: KvType;
  nPages: number;
  maxRows: number;
  steps: readonly Step[];
  /** The error code that the last step must end with; absent: it must succeed. */
  expectedError?: "NUMERIC_FAILURE";
  /** Kinds of head requests that a backend need not offer; one that lacks them passes. */
  wants?: readonly HeadWantKind[];
  /** The reference takes seconds for it. */
  slow?: true;
}

/** Seeded source of test values. */
export class Draw {
  private readonly seed: number;
  private counter = 0;

  constructor(seed: number) {
    this.seed = seed;
  }

  /** Unsigned 32 random bits. */
  bits(): number {
    return threefry(this.seed, 0x5eed, this.counter++, 0);
  }

  /** Integer from 0 to n − 1. */
  below(n: number): number {
    return this.bits() % n;
  }

  /** Even in [−1, 1). */
  even(): number {
    return this.bits() / 2 ** 31 - 1;
  }

  bytes(length: number): Uint8Array {
    const words = new Uint32Array(Math.ceil(length / 4));
    for (let i = 0; i < words.length; i++) words[i] = this.bits();
    return new Uint8Array(words.buffer).subarray(0, length);
  }

  /** Values of very different sizes: mostly ±magnitude, some outliers, zeros of both signs and subnormals. */
  floats(length: number, magnitude = 1): Float32Array {
    return Float32Array.from({ length }, () => {
      const value = this.even() * magnitude;
      switch (this.below(64)) {
        case 0:
          return value * 100;
        case 1:
          return 0;
        case 2:
          return -0;
        case 3:
          return value * 1e-40;
        default:
          return value;
      }
    });
  }
}

/** Declares the buffers of a small program and puts its weights into memory. */
export class CaseBuilder {
  readonly draw: Draw;
  private readonly sources: SourceRef[] = [];
  private readonly buffers: BufferDecl[] = [];
  private readonly ops: Op[] = [];

  constructor(seed: number) {
    this.draw = new Draw(seed);
  }

  f32(name: string, cols: number): BufferId {
    return this.buffers.push({ class: "activation", name, type: "f32", cols }) - 1;
  }

  q8(name: string, cols: number, groupSize?: 128): BufferId {
    return (
      this.buffers.push({
        class: "activation",
        name,
        type: "q8",
        cols,
        ...(groupSize ? { groupSize } : {}),
      }) - 1
    );
  }

  kv(name: string, nKvHeads: number, headDim: number): BufferId {
    return this.buffers.push({ class: "kv", name, nKvHeads, headDim }) - 1;
  }

  /** Random bytes: all four codes appear, in the padding too, where kernels must meet zero activations. */
  ternary(name: string, rows: number, cols: number, scale: Scale, bytes?: Uint8Array): BufferId {
    const { source, offset } = this.source(name, bytes ?? this.draw.bytes(rows * computeRowBytes(cols)));
    return (
      this.buffers.push({
        class: "weight",
        name,
        tensor: { kind: "ternary", source, offset, rows, cols, scale },
      }) - 1
    );
  }

  dense(name: string, type: DenseType, rows: number, cols: number, values?: Float32Array): BufferId {
    const bytes = values ? encodeDense(type, values) : randomDense(this.draw, type, rows * cols);
    const { source, offset } = this.source(name, bytes);
    return (
      this.buffers.push({
        class: "weight",
        name,
        tensor: { kind: "dense", type, source, offset, rows, cols },
      }) - 1
    );
  }

  add(op: Op): void {
    this.ops.push(op);
  }

  program(name: string, { contextLength = 1024, vocabSize = 0 } = {}): Program {
    return { name, contextLength, vocabSize, sources: this.sources, buffers: this.buffers, ops: this.ops };
  }

  /** Places bytes at an odd offset, as tensors of safetensors files may lie. */
  private source(name: string, bytes: Uint8Array): { source: number; offset: number } {
    const offset = 1 + this.draw.below(31);
    const padded = new Uint8Array(offset + bytes.length);
    padded.set(bytes, offset);
    return { source: this.sources.push({ kind: "bytes", name, bytes: padded }) - 1, offset };
  }
}

function encodeDense(type: DenseType, values: Float32Array): Uint8Array {
  if (type === "f32") return new Uint8Array(values.slice().buffer);
  if (type !== "f16" && type !== "bf16") throw new RangeError(`no encoder for ${type}`);
  const narrow = type === "f16" ? f32ToF16 : f32ToBf16;
  return new Uint8Array(Uint16Array.from(values, narrow).buffer);
}

/** Offsets of the f16 block scales within a block, which random bytes must not turn into NaN or infinity. */
const blockScales: Partial<
  Record<DenseType, { blockBytes: number; scaleOffset: number; hasMinimum?: boolean }>
> = {
  q8_0: { blockBytes: 34, scaleOffset: 0 },
  q4_0: { blockBytes: 18, scaleOffset: 0 },
  q6_k: { blockBytes: 210, scaleOffset: 208 },
  trits: { blockBytes: 34, scaleOffset: 0 },
  q4_k: { blockBytes: 144, scaleOffset: 0, hasMinimum: true },
};

function randomDense(draw: Draw, type: DenseType, nElements: number): Uint8Array {
  const block = blockScales[type];
  if (!block) return encodeDense(type, draw.floats(nElements));
  const bytes = draw.bytes(denseByteLength(type, nElements));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = block.scaleOffset; at + 2 <= bytes.length; at += block.blockBytes)
    for (const half of block.hasMinimum ? [at, at + 2] : [at])
      view.setUint16(half, f32ToF16(draw.even() / 50), true);
  return bytes;
}

/** A step of `nRows` rows that belong to no sequence, for operations without KV cache. */
export function plainStep(nRows: number, rest: Partial<Step> = {}): Step {
  return {
    tokens: new Int32Array(nRows),
    positions: Int32Array.from({ length: nRows }, (_, i) => i),
    sequences: new Int32Array(nRows),
    pageTables: [],
    heads: [],
    ...rest,
  };
}
