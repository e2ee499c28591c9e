/** rmsNorm over each stretch of a row that is as wide as the weight: all threads on one, or 32 on each of several at a time. */
import { sumOfFunction } from "./reductions.ts";
import type { RowPart } from "./row-part.ts";

export const rmsNorm: RowPart = {
  name: "rmsNorm",
  params: ["width: u32", "nParts: u32", "eps: f32"],
  buffers: [
    ["read", "x: f32"],
    ["read", "weight: f32"],
    ["write", "out: f32"],
  ],
  shared: [sumOfFunction],
  body: `
    let lanes = select(32u, threads, $nParts == 1u);
    for (var first = 0u; first < $nParts; first += threads / lanes) {
      let part = first + t / lanes;
      let end = select(0u, $width, part < $nParts);
      let base = (row * $nParts + part) * $width;
      var own = 0.0;
      for (var i = t % lanes; i < end; i += lanes) { own = fma($x[base + i], $x[base + i], own); }
      let r = 1.0 / sqrt(sumOf(own, t, lanes) / f32($width) + $eps);
      for (var i = t % lanes; i < end; i += lanes) { $out[base + i] = ($x[base + i] * r) * $weight[i]; }
    }`,
};
