/**
 * PTQ1_0 (GGUF type 143): 128 weights in 28 bytes: qs[24], qh[2], f16 scale. Five trits to a byte of qs, four to a byte of qh, most
 * significant digit first; qs[0…15] hold weights 0…79 in steps of 16, qs[16…23] weights 80…119 in steps of 8, qh weights 120…127 in
 * steps of 2.
 */
import { base3Byte, base3Digits } from "./base-three.ts";
import { groupBlockPacking } from "./group-blocks.ts";

/** Runs of bytes with one stride: `count` bytes from `byte`, whose digit d holds weight `weight` + d · count + i. */
const sections = [
  { byte: 0, count: 16, weight: 0, digits: 5 },
  { byte: 16, count: 8, weight: 80, digits: 5 },
  { byte: 24, count: 2, weight: 120, digits: 4 },
] as const;

export const ptq1 = groupBlockPacking("ptq1_0", {
  weights: 128,
  bytes: 28,
  scaleByte: 26,
  unpack(bytes, from, out, to) {
    for (const { byte, count, weight, digits } of sections) {
      for (let i = 0; i < count; i++) {
        const fields = base3Digits[bytes[from + byte + i] ?? 0] ?? 0;
        for (let digit = 0; digit < digits; digit++)
          out[to + weight + digit * count + i] = ((fields >> (2 * digit)) & 3) - 1;
      }
    }
  },
  pack(trits, from, out, to) {
    for (const { byte, count, weight, digits } of sections) {
      for (let i = 0; i < count; i++) {
        let value = 0;
        for (let digit = 0; digit < 5; digit++)
          value = value * 3 + (digit < digits ? (trits[from + weight + digit * count + i] ?? 0) + 1 : 0);
        out[to + byte + i] = base3Byte(value);
      }
    }
  },
});
