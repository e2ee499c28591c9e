/**
 * Q1_0 (GGUF type 41): binary weights, 128 in 18 bytes: f16 scale, then a bit each, low bits first, set = +1, clear = −1. There is no
 * zero. Source: llama.cpp.
 */
import { BitNetError } from "../base/errors.ts";
import { groupBlockPacking } from "./group-blocks.ts";

const id = "q1_0";
const weights = 128;
const scaleBytes = 2;

export const q1 = groupBlockPacking(id, {
  weights,
  bytes: scaleBytes + weights / 8,
  scaleByte: 0,
  unpack(bytes, from, out, to) {
    for (let j = 0; j < weights; j++)
      out[to + j] = 2 * (((bytes[from + scaleBytes + (j >> 3)] ?? 0) >> (j & 7)) & 1) - 1;
  },
  pack(trits, from, out, to) {
    for (let j = 0; j < weights; j++) {
      const trit = trits[from + j] ?? 0;
      if (trit === 0) {
        throw new BitNetError(
          "FORMAT_UNSUPPORTED",
          `${id}: holds −1 and +1 only, but element ${from + j} is 0`,
        );
      }
      const at = to + scaleBytes + (j >> 3);
      out[at] = (out[at] ?? 0) | (Number(trit > 0) << (j & 7));
    }
  },
});
