/** head: the normalised states of the rows that are asked for, then their products with the rows of the table that a shard holds. */
import type { DenseType } from "@bitnet.ts/core";
import { denseElements } from "./dense-elements.ts";
import { fromF16Function } from "./elementary.ts";
import { type Kernel, kernel } from "./kernel.ts";
import { sumOfFunction } from "./reductions.ts";

/** Words of what is asked of a row: the row, how many are to be ranked, whether there is a mask, how many at most of any row, whether a token is drawn. */
export const askedWords = 5;

/** A workgroup for each request. */
export const headStates = (threads: number): Kernel =>
  kernel("head states", {
    params: ["cols: u32", "eps: f32"],
    buffers: [
      ["read", "x: f32"],
      ["read", "weight: f32"],
      ["read", "asked: u32"],
      ["write", "states: f32"],
    ],
    threads,
    declarations: sumOfFunction,
    body: `
  let begin = asked[${askedWords}u * group.y] * params.cols;
  var own = 0.0;
  for (var i = t; i < params.cols; i += threads) { own = fma(x[begin + i], x[begin + i], own); }
  let r = 1.0 / sqrt(sumOf(own, t, threads) / f32(params.cols) + params.eps);
  for (var i = t; i < params.cols; i += threads) { states[group.y * params.cols + i] = (x[begin + i] * r) * weight[i]; }`,
  });

/** Of types that are read 16 bytes at a time where a row is so many whole vectors: both elements of a word. */
const wide: Partial<Record<DenseType, string>> = {
  f16: `${fromF16Function}fn pairOf(word: u32) -> vec2<f32> { return vec2(fromF16(word & 0xffffu), fromF16(word >> 16u)); }`,
  bf16: "fn pairOf(word: u32) -> vec2<f32> { return vec2(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u)); }",
};

/** Whether rows of so many columns are read in vectors. */
function isWide(type: DenseType, cols: number): boolean {
  return wide[type] !== undefined && cols % 8 === 0;
}

/**
 * Eight lanes for each row of the table, which requests share as it is read.
 * @param tile Requests at a time.
 */
export function headLogits(type: DenseType, tile: 1 | 4, cols: number): Kernel {
  const isVectors = isWide(type, cols);
  const request = tile === 1 ? "group.y" : `min(group.y * ${tile}u + i, step.nRequests - 1u)`;
  const product = isVectors
    ? `for (var k = lane; 8u * k < params.cols; k += 8u) {
      let words = weights[r * (params.cols / 8u) + k];
      let w0 = pairOf(words.x);
      let w1 = pairOf(words.y);
      let w2 = pairOf(words.z);
      let w3 = pairOf(words.w);
      for (var i = 0u; i < ${tile}u; i++) {
        let at = ${request} * (params.cols / 4u) + 2u * k;
        let low = states[at];
        let high = states[at + 1u];
        var sum = fma(w0.x, low.x, sums[i]);
        sum = fma(w0.y, low.y, sum);
        sum = fma(w1.x, low.z, sum);
        sum = fma(w1.y, low.w, sum);
        sum = fma(w2.x, high.x, sum);
        sum = fma(w2.y, high.y, sum);
        sum = fma(w3.x, high.z, sum);
        sums[i] = fma(w3.y, high.w, sum);
      }
    }`
    : `for (var k = lane; 2u * k < params.cols; k += 8u) {
      let w = pairAt(r, k);
      for (var i = 0u; i < ${tile}u; i++) {
        let at = ${request} * params.cols + 2u * k;
        sums[i] = fma(w.x, states[at], sums[i]);
        if (2u * k + 1u < params.cols) { sums[i] = fma(w.y, states[at + 1u], sums[i]); }
      }
    }`;
  return kernel(`head logits ${tile} ${type}${isVectors ? " in vectors" : ""}`, {
    params: ["cols: u32", "firstRow: u32", "shardRows: u32", "vocabSize: u32"],
    buffers: [
      ["read", isVectors ? "weights: vec4<u32>" : "weights: u32"],
      ["read", isVectors ? "states: vec4<f32>" : "states: f32"],
      ["write", "logits: f32"],
    ],
    threads: 64,
    declarations: `${isVectors ? wide[type] : denseElements(type)}
var<workgroup> partial: array<f32, ${64 * tile}>;`,
    body: `
  let lane = t & 7u;
  let r = group.x * 8u + (t >> 3u);
  var sums: array<f32, ${tile}>;
  if (r < params.shardRows) {
    ${product}
  }
  for (var i = 0u; i < ${tile}u; i++) { partial[t * ${tile}u + i] = sums[i]; }
  workgroupBarrier();
  let request = group.y * ${tile}u + lane;
  if (lane >= ${tile}u || request >= step.nRequests || r >= params.shardRows) { return; }
  var sum = partial[(t & ~7u) * ${tile}u + lane];
  for (var i = 1u; i < 8u; i++) { sum += partial[((t & ~7u) + i) * ${tile}u + lane]; }
  logits[request * params.vocabSize + params.firstRow + r] = sum;`,
  });
}
