/** lora: y += scale · b · (a · x) in the rows that have the adapter. A workgroup for each row; a and b in f32. */
import { type Kernel, kernel } from "./kernel.ts";

export const mostRank = 1024;

export const lora: Kernel = kernel("lora", {
  params: ["cols: u32", "rank: u32", "width: u32", "adapter: u32", "scale: f32"],
  buffers: [
    ["read", "x: f32"],
    ["read", "a: f32"],
    ["read", "b: f32"],
    ["write", "y: f32"],
  ],
  usesRows: true,
  threads: 64,
  declarations: `var<workgroup> hidden: array<f32, ${mostRank}>;`,
  body: `
  let row = group.y;
  if (rows[row].w != params.adapter + 1u) { return; }
  for (var r = t; r < params.rank; r += 64u) {
    var sum = 0.0;
    for (var i = 0u; i < params.cols; i++) { sum = fma(a[r * params.cols + i], x[row * params.cols + i], sum); }
    hidden[r] = sum;
  }
  workgroupBarrier();
  for (var o = t; o < params.width; o += 64u) {
    var sum = 0.0;
    for (var r = 0u; r < params.rank; r++) { sum = fma(b[o * params.rank + r], hidden[r], sum); }
    y[row * params.width + o] += sum * params.scale;
  }`,
});
