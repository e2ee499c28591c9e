/**
 * A training graph: parameters, values of so many numbers per row, and a flat list of unfused operations, each of which has one gradient
 * (executor.ts). Plain data. Knows nothing of architectures or of what computes it.
 */
import type { GateFn, WeightForm } from "../kernels/kernels.ts";

export type ParameterId = number;
export type ValueId = number;

export interface Parameter {
  /** The engine's name, as in GGUF files without ".weight". */
  readonly name: string;
  /** [out, in] of a matrix, [n] of a norm's weight. */
  readonly shape: readonly number[];
  /** What the forward pass multiplies with; only `linear` uses another form than `float`. */
  readonly form: WeightForm;
  /** Whether weight decay applies: to matrices, not to norms. */
  readonly decays: boolean;
  /** Not trained: its values are those that the forward pass multiplies with, and it has no gradient. */
  readonly isFrozen: boolean;
  /** Factors B [out, rank] and A [rank, in] that scale · B A is added of before the weight is formed. Of this weight itself nothing is trained. */
  readonly adapter?: Adapter;
}

interface Adapter {
  readonly a: ParameterId;
  readonly b: ParameterId;
  readonly scale: number;
}

export interface Value {
  readonly name: string;
  /** Numbers per row. */
  readonly width: number;
  /** The value whose memory this one takes over, once it is computed; nobody reads that one afterwards. */
  readonly replaces: ValueId | null;
}

export type Operation =
  | { kind: "embed"; table: ParameterId; out: ValueId }
  | { kind: "rmsNorm"; x: ValueId; weight: ParameterId; out: ValueId; r: ValueId }
  /** Passes gradients straight through. */
  | { kind: "quantise"; x: ValueId; out: ValueId; s: ValueId }
  /** x · weightᵀ; `s`: the factors of quantised rows, or null for plain ones. */
  | { kind: "linear"; x: ValueId; s: ValueId | null; weight: ParameterId; out: ValueId }
  | { kind: "rope"; x: ValueId; out: ValueId; nHeads: number }
  | { kind: "attention"; q: ValueId; k: ValueId; v: ValueId; out: ValueId; stats: ValueId }
  | { kind: "gate"; fn: GateFn; gate: ValueId; up: ValueId; out: ValueId }
  | { kind: "add"; a: ValueId; b: ValueId; out: ValueId }
  /**
   * out = y + scale · B(A · dropout(x)), the side path of a linear operation; A [rank, in], B [out, rank]. `site` numbers the dropouts.
   */
  | {
      kind: "lora";
      x: ValueId;
      y: ValueId;
      a: ParameterId;
      b: ParameterId;
      hidden: ValueId;
      out: ValueId;
      scale: number;
      dropout: number;
      site: number;
    }
  /** Logits of x with the rows of a table, and their cross-entropy. The last operation. */
  | { kind: "head"; x: ValueId; table: ParameterId };

export interface Graph {
  readonly parameters: readonly Parameter[];
  readonly values: readonly Value[];
  readonly operations: readonly Operation[];
  /** Per operation: the stretch that it belongs to; recomputation keeps only what crosses from one to another. Ascending. */
  readonly segments: readonly number[];
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly ropeTheta: number;
  readonly normEps: number;
}

/** The values that an operation reads. */
export function inputsOf(op: Operation): ValueId[] {
  switch (op.kind) {
    case "embed":
      return [];
    case "linear":
      return op.s === null ? [op.x] : [op.x, op.s];
    case "attention":
      return [op.q, op.k, op.v];
    case "gate":
      return [op.gate, op.up];
    case "add":
      return [op.a, op.b];
    case "lora":
      return [op.x, op.y];
    default:
      return [op.x];
  }
}

/** The values that an operation writes. */
export function outputsOf(op: Operation): ValueId[] {
  switch (op.kind) {
    case "head":
      return [];
    case "rmsNorm":
      return [op.out, op.r];
    case "quantise":
      return [op.out, op.s];
    case "attention":
      return [op.out, op.stats];
    case "lora":
      return [op.out, op.hidden];
    default:
      return [op.out];
  }
}

export function sizeOf({ shape }: Parameter): number {
  return shape.reduce((product, n) => product * n, 1);
}

export function countParameters(graph: Graph): number {
  return graph.parameters.reduce((sum, parameter) => sum + sizeOf(parameter), 0);
}

/** Those that training changes. */
export function countTrainable(graph: Graph): number {
  return graph.parameters.reduce((sum, parameter) => sum + (parameter.isFrozen ? 0 : sizeOf(parameter)), 0);
}
