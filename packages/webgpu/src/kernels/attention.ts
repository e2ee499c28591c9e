/**
 * attention: softmax(q · Kᵀ · scale) · V over the row's own past. A workgroup for each query head and row goes through the keys 64 at a time, one a thread,
 * and keeps the running maximum (Milakov and Gimelshein, arXiv 1805.02867); then each thread adds up its own elements of the values.
 */
import { type KvType, pageTokens } from "@bitnet.ts/core";
import { expFunction, fromF16Function } from "./elementary.ts";
import { type Kernel, kernel } from "./kernel.ts";

export const mostHeadDim = 256;

export function attention(kvType: KvType): Kernel {
  const element = (name: string) =>
    kvType === "f16"
      ? `fn ${name}At(i: u32) -> f32 { let word = ${name}s[i >> 1u]; return fromF16(select(word & 0xffffu, word >> 16u, (i & 1u) == 1u)); }`
      : `fn ${name}At(i: u32) -> f32 { return bitcast<f32>(${name}s[i]); }`;
  return kernel(`attention ${kvType}`, {
    params: ["nHeads: u32", "nKvHeads: u32", "headDim: u32", "window: u32", "scale: f32"],
    buffers: [
      ["read", "q: f32"],
      ["read", "keys: u32"],
      ["read", "values: u32"],
      ["write", "out: f32"],
    ],
    usesRows: true,
    threads: 64,
    declarations: `${expFunction}${kvType === "f16" ? fromF16Function : ""}
${element("key")}
${element("value")}
const lowest = -3.4028234e38f;
var<workgroup> query: array<f32, ${mostHeadDim}>;
var<workgroup> weights: array<f32, 64>;
var<workgroup> highest: array<f32, 64>;
// Where head \`head\` of position j begins, in elements.
fn placeOf(row: u32, head: u32, j: u32) -> u32 {
  let page = pages[rows[row].z + j / ${pageTokens}u];
  return ((page * ${pageTokens}u + j % ${pageTokens}u) * params.nKvHeads + head) * params.headDim;
}`,
    body: `
  let head = group.x;
  let row = group.y;
  let kvHead = head / (params.nHeads / params.nKvHeads);
  let base = (row * params.nHeads + head) * params.headDim;
  for (var d = t; d < params.headDim; d += 64u) { query[d] = q[base + d]; }
  workgroupBarrier();
  let position = rows[row].y;
  var first = 0u;
  if (params.window > 0u && position + 1u > params.window) { first = position + 1u - params.window; }
  var total: array<f32, ${mostHeadDim / 64}>;
  var denominator = 0.0;
  var best = lowest;
  for (var begin = first & ~63u; begin <= position; begin += 64u) {
    let j = begin + t;
    var score = lowest;
    if (j >= first && j <= position) {
      let at = placeOf(row, kvHead, j);
      score = 0.0;
      for (var d = 0u; d < params.headDim; d++) { score = fma(query[d], keyAt(at + d), score); }
    }
    highest[t] = score;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half >>= 1u) {
      if (t < half) { highest[t] = max(highest[t], highest[t + half]); }
      workgroupBarrier();
    }
    let next = max(best, highest[0]);
    weights[t] = select(0.0, expOf((score - next) * params.scale), j >= first && j <= position);
    let kept = expOf((best - next) * params.scale);
    best = next;
    workgroupBarrier();
    denominator *= kept;
    for (var i = 0u; i < ${mostHeadDim / 64}u; i++) { total[i] *= kept; }
    for (var k = 0u; k < 64u; k++) {
      let p = weights[k];
      if (p == 0.0) { continue; }
      denominator += p;
      let at = placeOf(row, kvHead, begin + k);
      for (var i = 0u; i * 64u + t < params.headDim; i++) { total[i] = fma(p, valueAt(at + i * 64u + t), total[i]); }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i * 64u + t < params.headDim; i++) { out[base + i * 64u + t] = total[i] / denominator; }`,
  });
}
