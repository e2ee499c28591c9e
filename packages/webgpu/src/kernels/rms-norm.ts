/** rmsNorm: a workgroup for each stretch of a row that is as wide as the weight. */
import { type Kernel, kernel } from "./kernel.ts";

/** `sumOfAll(x, t)` over a workgroup of 256; every thread gets it. */
export const sumOfAll = `
var<workgroup> sums: array<f32, 256>;
fn sumOfAll(own: f32, t: u32) -> f32 {
  sums[t] = own;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half >>= 1u) {
    if (t < half) { sums[t] += sums[t + half]; }
    workgroupBarrier();
  }
  return sums[0];
}
`;

export const rmsNorm: Kernel = kernel("rmsNorm", {
  params: ["width: u32", "nParts: u32", "eps: f32"],
  buffers: [
    ["read", "x: f32"],
    ["read", "weight: f32"],
    ["write", "out: f32"],
  ],
  threads: 256,
  declarations: sumOfAll,
  body: `
  let base = (group.y * params.nParts + group.x) * params.width;
  var own = 0.0;
  for (var i = t; i < params.width; i += 256u) { own = fma(x[base + i], x[base + i], own); }
  let r = 1.0 / sqrt(sumOfAll(own, t) / f32(params.width) + params.eps);
  for (var i = t; i < params.width; i += 256u) { out[base + i] = (x[base + i] * r) * weight[i]; }`,
});
