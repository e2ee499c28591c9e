/**
 * What travels between TypeScript and the C++ engine as words of 32 bits, beside programs: each record as data. Its types, its encoding
 * (word-record.ts) and its C++ struct (native/engine/records.generated.h) all come from this table.
 */
import type { EngineRecord } from "./word-record.ts";

const count = { type: "integer", least: 0, most: 2 ** 31 - 1 } as const;
const unsigned = { type: "unsigned" } as const;
const float = { type: "float" } as const;
const double = { type: "double" } as const;
const flag = { type: "flag" } as const;

export const engineRecords = {
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
