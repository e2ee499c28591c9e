/**
 * A Step: one ragged batch of rows to run through a Program, and what to answer. Decode rows of many sequences and
 * prefill chunks mix freely; a row knows its sequence and position only through the page tables. Plain typed arrays.
 */
import type { BufferId } from "./program.ts";

export interface Step {
  /** [nRows] token ids; ignored by a program without `embed`. */
  tokens: Int32Array;
  /** [nRows] position of each row within its sequence. A sequence's rows stand in ascending order of position. */
  positions: Int32Array;
  /** [nRows] index into `pageTables`. */
  sequences: Int32Array;
  /** [nRows] the adapter of each row, by the number that its `lora` operations have; −1: none. Without it no row has one. */
  adapters?: Int32Array;
  /** Per sequence the arena pages that hold its positions in order: position p lies in page `table[⌊p / pageTokens⌋]`. */
  pageTables: readonly Int32Array[];
  /** Pairs (from, to) of pages to copy, all layers, before any row is written. */
  pageCopies?: Int32Array;
  /** At most one request per row. */
  heads: readonly HeadRequest[];
  /** Values for f32 activation buffers, [nRows, cols], set before the first operation. */
  inputs?: readonly { buffer: BufferId; values: Float32Array }[];
  /** Activation buffers to return as they stand after the last operation. */
  outputs?: readonly BufferId[];
}

/** What a sampler wants to know of one row's logits. Ties rank the lower id first. */
export type HeadWant =
  /** The `k` highest logits. */
  | { kind: "top"; k: number }
  /** Every id whose logit ≥ (highest logit − margin), compared in f32. */
  | { kind: "above"; margin: number }
  /** The id with the highest f32(logit / temperature) + gumbel(seed, choice, index, id) (sampling noise, base/noise.ts). */
  | { kind: "winner"; temperature: number; seed: number; choice: number; index: number }
  /** All logits. */
  | { kind: "all" }
  /**
   * A beginning of the ranking, and a bracket of the weight of the ranked ids after it (`HeadResult.rest`). It is as long as it takes for
   * it, with the ids apart that stand above its last one, to carry `share` of the weight of all ranked and apart ids, but not less than 64
   * and not more than 1024 ids. A weight is exp((logit − highest ranked logit) / temperature). Backends may list more or fewer, but at
   * least one: only what they say has to be true.
   */
  | { kind: "mass"; temperature: number; share: number }
  /** No logits, but what they are made of: the row's normalised state as it is multiplied with the table. Nothing else may be asked with it. */
  | { kind: "state" }
  | DrawWant;

/**
 * A token drawn from all logits by penalties, filters and noise as docs/numerics.md, "Samplers", has them; `allow` applies to every id,
 * also to those `apart`. Answered with the token (−1 when all are forbidden) and its logit, then the `nBest` highest logits of all ids;
 * logits as they were before the changes.
 */
export interface DrawWant {
  kind: "draw";
  /** f32; 0: the highest changed logit. */
  temperature: number;
  /** 0: all. */
  topK: number;
  typicalP: number;
  topP: number;
  minP: number;
  seed: number;
  choice: number;
  index: number;
  nBest: number;
  /** What changes the logits of `apart`, f32. */
  penalties: { repeat: number; frequency: number; presence: number };
  /** [nApart] how often each id of `apart` stands in the window of the penalties, below 2²⁴. */
  counts: Int32Array;
  /** [nApart] added last; −Infinity forbids the id. */
  biases: Float32Array;
  /**
   * For the steps that follow in a chain (`Executable.runChain`): the id that leaves the window of the penalties as each token that is drawn enters it,
   * −1 for none; as many as are known. Without it nothing follows.
   */
  leaving?: Int32Array;
}

export type HeadWantKind = HeadWant["kind"];

export interface HeadRequest {
  row: number;
  want: HeadWant;
  /** Ids left out of the ranking whose logits are answered separately (those that penalties or biases touch). Distinct. */
  apart?: Int32Array;
  /** Bit set [ceil(vocab / 32)]: bit id & 31 of word id >> 5 allows the id to be ranked. Does not apply to `apart`. */
  allow?: Uint32Array;
  /** Ask for the log of the sum of exp over all logits, whatever `apart` and `allow` say. */
  logSumExp?: boolean;
}

export interface HeadResult {
  row: number;
  /** The candidates, highest logit first (`winner`: one; `mass`: at least one; `draw`: see there); empty when nothing is allowed. For `all`: empty. */
  ids: Int32Array;
  /** Logits of `ids`; for `all` every logit by id, [vocab]. */
  logits: Float32Array;
  /** Logits of the request's `apart`, in its order. */
  apartLogits: Float32Array;
  /** For `state`: [cols of the table]; `ids` and `logits` are empty. */
  state?: Float32Array;
  /** Present when asked for. */
  logSumExp?: number;
  /** For `mass`: what the ranked ids that are not listed weigh together, at least and at most, in real numbers. */
  rest?: { low: number; high: number };
}

export interface BufferOutput {
  buffer: BufferId;
  /** f32 buffers: [nRows, cols]. */
  values?: Float32Array;
  /** q8 buffers: [nRows, cols] and [nRows], or [nRows, groups]. */
  quantised?: { values: Int8Array; scales: Float32Array };
}

export interface StepResult {
  /** In the order of `Step.heads`. */
  heads: readonly HeadResult[];
  /** In the order of `Step.outputs`. */
  outputs: readonly BufferOutput[];
}
