/**
 * What travels between TypeScript and the C++ engine as words of 32 bits, beside the operations of programs: each record as data. Its types, its
 * encoding (word-record.ts) and its C++ struct (native/engine/records.generated.h) all come from this table.
 */
import type { EngineRecord } from "./word-record.ts";

const count = { type: "integer", least: 0, most: 2 ** 31 - 1 } as const;
const unsigned = { type: "unsigned" } as const;
const float = { type: "float" } as const;
const double = { type: "double" } as const;
const flag = { type: "flag" } as const;

export const engineRecords = {
  programCounts: {
    does: "what a program begins with: how much of everything follows",
    fields: {
      contextLength: { type: "integer", least: 1, most: 2 ** 31 - 1 },
      vocabSize: count,
      nSources: count,
      nBuffers: count,
      nOperations: count,
      nPhases: count,
      nJoined: count,
    },
  },
  programSource: {
    does: "a file, or bytes in memory, in which weights lie",
    fields: { size: double },
  },
  programBuffer: {
    does: "a buffer of a program; 0 stands in what its kind does not have",
    fields: {
      kind: { type: "choice", enumeration: "BufferKind", of: ["ternary", "dense", "kv", "f32", "q8"] },
      /** Weights: where they lie, the offset in bytes. */
      source: count,
      offset: double,
      /** Of weights. */
      rows: count,
      /** Of weights and activations. */
      cols: { type: "integer", least: 0, most: 2 ** 28 },
      type: {
        type: "choice",
        enumeration: "DenseType",
        isKernels: true,
        of: ["f32", "f16", "bf16", "q8_0", "q6_k", "q4_0", "trits", "q4_k"],
      },
      scaleKind: { type: "choice", enumeration: "ScaleKind", of: ["tensor", "row", "group"] },
      /** Columns that share a scale, of weights or of a q8 activation; 0 where a whole row does. */
      groupSize: count,
      /** Of a tensor. */
      scale: float,
      /** Which of the program's arrays has the scales of rows or groups. */
      scales: count,
      nKvHeads: { type: "integer", least: 0, most: 2 ** 16 },
      headDim: { type: "integer", least: 0, most: 2 ** 16 },
      /** Activations: steps of many rows may keep it in lanes or strips. */
      suitsLanes: flag,
    },
  },
  loadLimits: {
    does: "what a program is loaded under",
    fields: {
      maxRows: { type: "integer", least: 1, most: 2 ** 20 },
      nPages: count,
      kvType: { type: "choice", enumeration: "KvType", isKernels: true, of: ["f32", "f16"] },
      /** The most that a step may have. */
      threads: { type: "integer", least: 1, most: 256 },
      /** Every step has them, however small it is. */
      allThreads: flag,
      /** The head may keep a copy of its table in int8. */
      screening: flag,
    },
  },
  engineNumbers: {
    does: "what a loaded program takes, in bytes, and how its head requests were answered so far",
    fields: {
      privateBytes: double,
      mappedBytes: double,
      kvBytesPerToken: double,
      screenBytes: double,
      headsScreened: double,
      headsWhole: double,
      headCandidates: double,
    },
  },
  stepCounts: {
    does: "what a step begins with: how much of everything follows",
    fields: {
      nRows: count,
      nTables: count,
      nCopies: count,
      nHeads: count,
      nInputs: count,
      nOutputs: count,
      hasAdapters: flag,
    },
  },
  askedHead: {
    does: "a head request; its filters, ids and mask follow",
    fields: {
      row: count,
      want: {
        type: "choice",
        enumeration: "Want",
        of: ["top", "above", "winner", "all", "mass", "draw", "state"],
      },
      /** `top`. */
      k: count,
      /** The margin of `above`, the temperature of `winner`, `mass` and `draw`. */
      real: float,
      /** `mass`. */
      share: float,
      seed: unsigned,
      choice: unsigned,
      index: unsigned,
      hasLogSumExp: flag,
      hasAllow: flag,
      nApart: count,
    },
  },
  drawFilters: {
    does: "how a token is drawn (numerics: samplers); topK 0: from all",
    fields: {
      topK: count,
      nBest: count,
      typicalP: double,
      topP: double,
      minP: double,
      repeat: float,
      frequency: float,
      presence: float,
    },
  },
  answeredHead: {
    does: "the answer to a head request; its ids, logits (or state) and logits apart follow",
    fields: {
      nIds: count,
      nLogits: count,
      nApart: count,
      hasLogSumExp: flag,
      hasRest: flag,
      isState: flag,
      /** `mass`: what all others weigh, at least and at most. */
      restLow: double,
      restHigh: double,
      logSumExp: float,
    },
  },
} as const satisfies Record<string, EngineRecord>;
