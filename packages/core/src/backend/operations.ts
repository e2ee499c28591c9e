/**
 * Every operation of the contract, as data. The types of a program's operations, their validation, their encoding, the C++ structs and
 * decoder (native/engine/operations.generated.h) and docs/operations.md all come from this table. What each computes to the bit is
 * in docs/numerics.md; the fused ones are defined in terms of others in expand.ts.
 */
import type { OperationOf, OperationTable } from "./operation-table.ts";

const eps = { role: "attribute", type: "real", least: 0, below: 1 } as const;
const nHeads = { role: "attribute", type: "integer", least: 1, most: 65536 } as const;
/** Which elements of a head are rotated together: i and i + headDim/2, or 2i and 2i + 1. */
const pairing = {
  role: "attribute",
  type: "choice",
  enumeration: "Pairing",
  of: ["half", "adjacent"],
} as const;
/** `relu2` is g² with g = max(gate, 0). */
const fn = {
  role: "attribute",
  type: "choice",
  enumeration: "GateFn",
  of: ["relu2", "silu", "gelu"],
} as const;
/** For each position headDim/2 cosines, then headDim/2 sines. */
const ropeTable = {
  role: "reads",
  takes: "dense",
  types: ["f32"],
  rows: ["contextLength"],
  cols: ["headDim"],
} as const;
const kv = { takes: "kv" } as const;
const read = <const C extends readonly string[]>(...cols: C) =>
  ({ role: "reads", takes: "f32", cols }) as const;
const written = <const C extends readonly string[]>(...cols: C) =>
  ({ role: "writes", takes: "f32", cols }) as const;
const modified = <const C extends readonly string[]>(...cols: C) =>
  ({ role: "modifies", takes: "f32", cols }) as const;
const quantised = <const R extends "reads" | "writes">(role: R) =>
  ({ role, takes: "q8", cols: ["n"] }) as const;
/** One row, as wide as what it is applied to. */
const vector = <const C extends readonly string[]>(...cols: C) =>
  ({ role: "reads", takes: "dense", rows: [], cols }) as const;
const vocabularyTable = { role: "reads", takes: "dense", rows: ["vocabSize"], cols: ["n"] } as const;

export const operations = {
  embed: {
    does: "out = table[token]",
    fields: { table: vocabularyTable, out: written("n") },
    runs: "rows",
  },
  rmsNormQuant: {
    does: "out = quantise(rmsNorm(x) · weight): RMSNorm, then int8 quantisation, per row",
    fields: { x: read("n"), weight: vector("n"), out: quantised("writes"), eps },
    runs: "rows",
  },
  rmsNorm: {
    does: "out = rmsNorm(x) · weight over each stretch of x that is as wide as the weight (a head's, or the whole row)",
    fields: { weight: vector("width"), x: read("nParts", "width"), out: written("nParts", "width"), eps },
    runs: "rows",
  },
  quantise: {
    does: "out = quantise(x): int8 with one scale a row",
    fields: { x: read("n"), out: quantised("writes") },
    runs: "rows",
  },
  bitLinear: {
    does: "outs[i] = weights[i] · x: ternary matrices that share one quantised input",
    fields: {
      x: quantised("reads"),
      weights: { role: "reads", takes: "ternary", list: true, rows: ["width"], cols: ["n"] },
      outs: { role: "writes", takes: "f32", list: true, cols: ["width"] },
    },
    runs: "whole",
  },
  ropeKv: {
    does: "rotates q and k, and writes k and v to the KV cache at the row's position",
    fields: {
      q: modified("nHeads", "headDim"),
      k: modified("nKvHeads", "headDim"),
      v: read("nKvHeads", "headDim"),
      kv: { role: "modifies", ...kv },
      table: ropeTable,
      nHeads,
      pairing,
    },
    distinct: [["q", "k", "v"]],
    runs: "rows",
  },
  rope: {
    does: "rotates every head of x by the angles of the row's position",
    fields: { x: modified("nHeads", "headDim"), table: ropeTable, nHeads, pairing },
    runs: "rows",
  },
  writeKv: {
    does: "writes k and v to the KV cache at the row's position",
    fields: {
      k: read("nKvHeads", "headDim"),
      v: read("nKvHeads", "headDim"),
      kv: { role: "modifies", ...kv },
    },
    runs: "rows",
  },
  attention: {
    does: "out = softmax(q · Kᵀ · scale) · V, causal, over the row's own sequence and, unless window is 0, its last `window` positions; nHeads / nKvHeads query heads share a KV head",
    fields: {
      q: read("nHeads", "headDim"),
      kv: { role: "reads", ...kv },
      out: written("nHeads", "headDim"),
      nHeads,
      /** Normally f32(1 / √headDim). */
      scale: { role: "attribute", type: "real", least: 0, isOpen: true, below: Number.POSITIVE_INFINITY },
      /** 0: all positions up to the row's own. */
      window: { role: "attribute", type: "integer", least: 0, most: 2 ** 31 - 1 },
    },
    distinct: [["q", "out"]],
    multiples: [[["nHeads"], ["nKvHeads"]]],
    runs: "whole",
  },
  gatedActivation: {
    does: "out = fn(gate) · up",
    fields: { gate: read("n"), up: read("n"), out: written("n"), fn },
    runs: "rows",
  },
  activation: {
    does: "out = fn(x)",
    fields: { x: read("n"), out: written("n"), fn },
    runs: "rows",
  },
  multiply: {
    does: "out = x · y, element by element",
    fields: { x: read("n"), y: read("n"), out: written("n") },
    runs: "rows",
  },
  bias: {
    does: "x = x + bias",
    fields: { x: modified("n"), bias: vector("n") },
    runs: "rows",
  },
  lora: {
    does: "y = y + scale · b · (a · x) in the rows whose adapter (Step.adapters) is this one; others stay as they are",
    fields: {
      x: read("n"),
      a: { role: "reads", takes: "dense", types: ["f32", "f16", "bf16"], rows: ["rank"], cols: ["n"] },
      b: { role: "reads", takes: "dense", types: ["f32", "f16", "bf16"], rows: ["width"], cols: ["rank"] },
      y: modified("width"),
      scale: { role: "attribute", type: "real", least: 0, isOpen: true, below: Number.POSITIVE_INFINITY },
      adapter: { role: "attribute", type: "integer", least: 0, most: 65535 },
    },
    distinct: [["x", "y"]],
    runs: "rows",
  },
  scale: {
    does: "x = x · factor",
    fields: {
      x: modified("n"),
      factor: { role: "attribute", type: "real", least: 0, isOpen: true, below: Number.POSITIVE_INFINITY },
    },
    runs: "rows",
  },
  residual: {
    does: "x = x + y",
    fields: { x: modified("n"), y: read("n") },
    runs: "rows",
  },
  head: {
    does: "for the rows that the step's head requests name: logits = table · (rmsNorm(x) · weight), answered as asked",
    fields: { x: read("n"), weight: vector("n"), eps, table: vocabularyTable },
    runs: "whole",
  },
} as const satisfies OperationTable;

export type OpName = keyof typeof operations;
export const opNames = Object.keys(operations) as readonly OpName[];

/** An operation of a program: its name as `op`, and its fields. */
export type OpOf<Name extends OpName> = OperationOf<typeof operations, Name>;
export type Op = { [Name in OpName]: OpOf<Name> }[OpName];
