/** lora: y += scale · b · (a · x) in the rows that have the adapter; a and b in f32. */
import type { RowPart } from "./row-part.ts";

export const mostRank = 1024;

export const lora: RowPart = {
  name: "lora",
  params: ["cols: u32", "rank: u32", "width: u32", "adapter: u32", "scale: f32"],
  buffers: [
    ["read", "x: f32"],
    ["read", "a: f32"],
    ["read", "b: f32"],
    ["write", "y: f32"],
  ],
  shared: [`var<workgroup> hidden: array<f32, ${mostRank}>;`],
  body: `
    if (adapterOf(row) == $adapter + 1u) {
      for (var r = t; r < $rank; r += threads) {
        var sum = 0.0;
        for (var i = 0u; i < $cols; i++) { sum = fma($a[r * $cols + i], $x[row * $cols + i], sum); }
        hidden[r] = sum;
      }
      workgroupBarrier();
      for (var o = t; o < $width; o += threads) {
        var sum = 0.0;
        for (var r = 0u; r < $rank; r++) { sum = fma($b[o * $rank + r], hidden[r], sum); }
        $y[row * $width + o] += sum * $scale;
      }
      workgroupBarrier();
    }`,
};
