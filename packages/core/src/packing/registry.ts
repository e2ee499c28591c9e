/** All ternary packings by name. */
import { hfU8 } from "./hf-u8.ts";
import { i2s } from "./i2-s.ts";
import { i2s64 } from "./i2-s-64.ts";
import { i2sRows4 } from "./i2-s-rows4.ts";
import { iq1bn } from "./iq1-bn.ts";
import { iq2bn } from "./iq2-bn.ts";
import type { Packing, PackingId } from "./packing.ts";
import { ptq1 } from "./ptq1-0.ts";
import { q1 } from "./q1-0.ts";
import { pq2, q2, q2Wide } from "./q2-0.ts";
import { tq1 } from "./tq1-0.ts";
import { tq2 } from "./tq2-0.ts";

/** Whether a tensor type is a packing of models with 16-bit activations: a scale for each group of 64 or 128 weights. */
export function isGroupPacking(type: unknown): type is PackingId {
  return ["q1_0", "q2_0", "q2_0_128", "pq2_0", "ptq1_0"].some((id) => id === type);
}

export const packings: Readonly<Record<PackingId, Packing>> = {
  i2_s: i2s,
  i2_s_64: i2s64,
  i2_s_rows4: i2sRows4,
  tq1_0: tq1,
  tq2_0: tq2,
  iq1_bn: iq1bn,
  iq2_bn: iq2bn,
  q1_0: q1,
  q2_0: q2,
  q2_0_128: q2Wide,
  pq2_0: pq2,
  ptq1_0: ptq1,
  hf_u8: hfU8,
};
