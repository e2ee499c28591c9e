/**
 * Q2_0 and PQ2_0: f16 scale first, then four weights to a byte in their order, low bits first; code = weight + 1. GGUF type 42 has
 * blocks of 64 weights in 18 bytes, and had blocks of 128 in 34 before it came to llama.cpp; PQ2_0 (type 142) keeps the latter.
 */
import { groupBlockPacking } from "./group-blocks.ts";
import type { Packing, PackingId } from "./packing.ts";

const scaleBytes = 2;

function sequentialTwoBit(id: PackingId, weights: number): Packing {
  return groupBlockPacking(id, {
    weights,
    bytes: scaleBytes + weights / 4,
    scaleByte: 0,
    unpack(bytes, from, out, to) {
      for (let j = 0; j < weights; j++)
        out[to + j] = (((bytes[from + scaleBytes + (j >> 2)] ?? 0) >> (2 * (j & 3))) & 3) - 1;
    },
    pack(trits, from, out, to) {
      for (let j = 0; j < weights; j++) {
        const at = to + scaleBytes + (j >> 2);
        out[at] = (out[at] ?? 0) | (((trits[from + j] ?? 0) + 1) << (2 * (j & 3)));
      }
    },
  });
}

export const q2 = sequentialTwoBit("q2_0", 64);
export const q2Wide = sequentialTwoBit("q2_0_128", 128);
export const pq2 = sequentialTwoBit("pq2_0", 128);
