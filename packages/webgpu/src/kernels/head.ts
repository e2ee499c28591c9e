/** head: the normalised states of the rows that are asked for, then their products with the rows of the table that a shard holds. */
import type { DenseType } from "@bitnet.ts/core";
import { denseElements } from "./dense-elements.ts";
import { type Kernel, kernel } from "./kernel.ts";
import { sumOfAll } from "./rms-norm.ts";

/** A workgroup for each request; \`asked\` are its rows. */
export const headStates: Kernel = kernel("head states", {
  params: ["cols: u32", "eps: f32"],
  buffers: [
    ["read", "x: f32"],
    ["read", "weight: f32"],
    ["read", "asked: u32"],
    ["write", "states: f32"],
  ],
  threads: 256,
  declarations: sumOfAll,
  body: `
  let begin = asked[group.y] * params.cols;
  var own = 0.0;
  for (var i = t; i < params.cols; i += 256u) { own = fma(x[begin + i], x[begin + i], own); }
  let r = 1.0 / sqrt(sumOfAll(own, t) / f32(params.cols) + params.eps);
  for (var i = t; i < params.cols; i += 256u) { states[group.y * params.cols + i] = (x[begin + i] * r) * weight[i]; }`,
});

/** Eight lanes for each row of the table, two columns at a time. */
export function headLogits(type: DenseType): Kernel {
  return kernel(`head logits ${type}`, {
    params: ["cols: u32", "firstRow: u32", "shardRows: u32", "vocabSize: u32"],
    buffers: [
      ["read", "weights: u32"],
      ["read", "states: f32"],
      ["write", "logits: f32"],
    ],
    threads: 64,
    declarations: `${denseElements(type)}
var<workgroup> partial: array<f32, 64>;`,
    body: `
  let lane = t & 7u;
  let r = group.x * 8u + (t >> 3u);
  let begin = group.y * params.cols;
  var sum = 0.0;
  if (r < params.shardRows) {
    for (var k = lane; 2u * k < params.cols; k += 8u) {
      let w = pairAt(r, k);
      sum = fma(w.x, states[begin + 2u * k], sum);
      if (2u * k + 1u < params.cols) { sum = fma(w.y, states[begin + 2u * k + 1u], sum); }
    }
  }
  partial[t] = sum;
  workgroupBarrier();
  if (lane != 0u || r >= params.shardRows) { return; }
  for (var i = 1u; i < 8u; i++) { sum += partial[t + i]; }
  logits[group.y * params.vocabSize + params.firstRow + r] = sum;`,
  });
}
