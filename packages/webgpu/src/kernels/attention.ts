/**
 * attention: softmax(q · Kᵀ · scale) · V over the row's own past, in blocks of 128 absolute positions, each with a maximum of its own, which are then
 * added up in order (Milakov and Gimelshein, arXiv 1805.02867). A workgroup for each query head and row goes through all blocks; for few rows with a long
 * past there is one for each block, and another kernel adds them up (Dao and others, "Flash-Decoding", 2023) by the same steps.
 */
import type { KvType } from "@bitnet.ts/core";
import { pageTokens } from "@bitnet.ts/core";
import { expFunction, fromF16Function } from "./elementary.ts";
import { type Access, type Kernel, kernel } from "./kernel.ts";

export const mostHeadDim = 256;
/** Positions of a block; a multiple of 64. */
export const blockPositions = 128;

const threads = 64;
const params = ["nHeads: u32", "nKvHeads: u32", "headDim: u32", "window: u32", "scale: f32"] as const;

/** Of a thread: its own elements of the sum over the blocks so far, and of the block in hand. */
const sums = `
const perThread = ${mostHeadDim / threads}u;
const lowest = -3.4028234e38f;
struct Sums { best: f32, denominator: f32, values: array<f32, perThread> }
fn added(a: Sums, b: Sums) -> Sums {
  let best = max(a.best, b.best);
  let keptA = expOf((a.best - best) * params.scale);
  let keptB = expOf((b.best - best) * params.scale);
  var sum = Sums(best, a.denominator * keptA + b.denominator * keptB, array<f32, perThread>());
  for (var i = 0u; i < perThread; i++) { sum.values[i] = a.values[i] * keptA + b.values[i] * keptB; }
  return sum;
}
fn nothing() -> Sums { return Sums(lowest, 0.0, array<f32, perThread>()); }
fn firstOfWindow(position: u32) -> u32 {
  return select(0u, position + 1u - params.window, params.window > 0u && position + 1u > params.window);
}
`;

/** Keys of f16 are read 16 bytes at a time where heads are so many whole vectors: threads stand far apart in them. */
function isVectors(kvType: KvType, headDim: number): boolean {
  return kvType === "f16" && headDim % 8 === 0;
}

function nameOf(kvType: KvType, headDim: number): string {
  return `${kvType}${isVectors(kvType, headDim) ? " in vectors" : ""}`;
}

function operandsOf(kvType: KvType, headDim: number): readonly (readonly [Access, string])[] {
  return [
    ["read", "q: f32"],
    ["read", isVectors(kvType, headDim) ? "keys: vec4<u32>" : "keys: u32"],
    ["read", "values: u32"],
  ];
}

function blockFunctions(kvType: KvType, headDim: number): string {
  const element = (name: string) =>
    kvType === "f16"
      ? `fn ${name}At(i: u32) -> f32 { let word = ${name}s[i >> 1u]; return fromF16(select(word & 0xffffu, word >> 16u, (i & 1u) == 1u)); }`
      : `fn ${name}At(i: u32) -> f32 { return bitcast<f32>(${name}s[i]); }`;
  // Heads of an even number of elements, as all are that are rotated, begin at whole words.
  const dot = isVectors(kvType, headDim)
    ? `for (var d = 0u; d < params.headDim; d += 8u) {
        let words = keys[(at + d) >> 3u];
        ${[0, 1, 2, 3]
          .map(
            (i) => `score = fma(query[d + ${2 * i}u], fromF16(words[${i}] & 0xffffu), score);
        score = fma(query[d + ${2 * i + 1}u], fromF16(words[${i}] >> 16u), score);`,
          )
          .join("\n        ")}
      }`
    : kvType === "f16"
      ? `for (var d = 0u; d < params.headDim; d += 2u) {
        let word = keys[(at + d) >> 1u];
        score = fma(query[d], fromF16(word & 0xffffu), score);
        score = fma(query[d + 1u], fromF16(word >> 16u), score);
      }`
      : "for (var d = 0u; d < params.headDim; d++) { score = fma(query[d], keyAt(at + d), score); }";
  return `${expFunction}${kvType === "f16" ? fromF16Function : ""}${sums}
${kvType === "f16" ? "" : element("key")}
${element("value")}
var<workgroup> query: array<f32, ${mostHeadDim}>;
var<workgroup> weights: array<f32, ${threads}>;
var<workgroup> highest: array<f32, ${threads}>;
// Where head \`head\` of position j begins, in elements.
fn placeOf(row: u32, head: u32, j: u32) -> u32 {
  return ((pageOf(row, j) * ${pageTokens}u + j % ${pageTokens}u) * params.nKvHeads + head) * params.headDim;
}
fn loadQuery(base: u32, t: u32) {
  for (var d = t; d < params.headDim; d += ${threads}u) { query[d] = q[base + d]; }
  workgroupBarrier();
}
// The keys \`first\` … \`position\` of a block, 64 at a time, one a thread.
fn sumOfBlock(row: u32, kvHead: u32, block: u32, t: u32) -> Sums {
  let position = positionOf(row);
  let first = firstOfWindow(position);
  var sum = nothing();
  for (var begin = block * ${blockPositions}u; begin < (block + 1u) * ${blockPositions}u && begin <= position; begin += ${threads}u) {
    if (begin + ${threads}u <= first) { continue; }
    let j = begin + t;
    var score = lowest;
    if (j >= first && j <= position) {
      let at = placeOf(row, kvHead, j);
      score = 0.0;
      ${dot}
    }
    highest[t] = score;
    workgroupBarrier();
    for (var half = ${threads / 2}u; half > 0u; half >>= 1u) {
      if (t < half) { highest[t] = max(highest[t], highest[t + half]); }
      workgroupBarrier();
    }
    let next = max(sum.best, highest[0]);
    weights[t] = select(0.0, expOf((score - next) * params.scale), j >= first && j <= position);
    let kept = expOf((sum.best - next) * params.scale);
    sum.best = next;
    workgroupBarrier();
    sum.denominator *= kept;
    for (var i = 0u; i < perThread; i++) { sum.values[i] *= kept; }
    let end = min(${threads}u, position + 1u - begin);
    for (var k = select(0u, first - begin, first > begin); k < end; k++) {
      let p = weights[k];
      sum.denominator += p;
      let at = placeOf(row, kvHead, begin + k);
      for (var i = 0u; i * ${threads}u + t < params.headDim; i++) { sum.values[i] = fma(p, valueAt(at + i * ${threads}u + t), sum.values[i]); }
    }
    workgroupBarrier();
  }
  return sum;
}
`;
}

const output = `
fn give(base: u32, t: u32, sum: Sums) {
  for (var i = 0u; i * ${threads}u + t < params.headDim; i++) { out[base + i * ${threads}u + t] = sum.values[i] / sum.denominator; }
}
`;

export function attention(kvType: KvType, headDim: number): Kernel {
  return kernel(`attention ${nameOf(kvType, headDim)}`, {
    params,
    buffers: [...operandsOf(kvType, headDim), ["write", "out: f32"]],
    usesRows: true,
    threads,
    declarations: `${blockFunctions(kvType, headDim)}${output}`,
    body: `
  let head = group.x;
  let row = group.y;
  let base = (row * params.nHeads + head) * params.headDim;
  loadQuery(base, t);
  let position = positionOf(row);
  var sum = nothing();
  for (var block = firstOfWindow(position) / ${blockPositions}u; block <= position / ${blockPositions}u; block++) {
    sum = added(sum, sumOfBlock(row, head / (params.nHeads / params.nKvHeads), block, t));
  }
  give(base, t, sum);`,
  });
}

/** Where the sums of a block lie: headDim values, the maximum, the denominator. */
const placeOfSplit = `
fn placeOfSplit(row: u32, head: u32, split: u32) -> u32 {
  return ((row * params.nHeads + head) * step.nSplits + split) * (params.headDim + 2u);
}
`;

export function attentionOfBlocks(kvType: KvType, headDim: number): Kernel {
  return kernel(`attention of blocks ${nameOf(kvType, headDim)}`, {
    params,
    buffers: [...operandsOf(kvType, headDim), ["write", "splits: f32"]],
    usesRows: true,
    threads,
    declarations: `${blockFunctions(kvType, headDim)}${placeOfSplit}`,
    body: `
  let head = group.x;
  let row = group.y;
  let position = positionOf(row);
  let block = firstOfWindow(position) / ${blockPositions}u + group.z;
  if (block > position / ${blockPositions}u) { return; }
  loadQuery((row * params.nHeads + head) * params.headDim, t);
  let sum = sumOfBlock(row, head / (params.nHeads / params.nKvHeads), block, t);
  let at = placeOfSplit(row, head, group.z);
  for (var i = 0u; i * ${threads}u + t < params.headDim; i++) { splits[at + i * ${threads}u + t] = sum.values[i]; }
  if (t == 0u) {
    splits[at + params.headDim] = sum.best;
    splits[at + params.headDim + 1u] = sum.denominator;
  }`,
  });
}

export const attentionSum: Kernel = kernel("attention sum", {
  params,
  buffers: [
    ["read", "splits: f32"],
    ["write", "out: f32"],
  ],
  usesRows: true,
  threads,
  declarations: `${expFunction}${sums}${placeOfSplit}${output}`,
  body: `
  let head = group.x;
  let row = group.y;
  let position = positionOf(row);
  let n = position / ${blockPositions}u - firstOfWindow(position) / ${blockPositions}u + 1u;
  var sum = nothing();
  for (var split = 0u; split < n; split++) {
    let at = placeOfSplit(row, head, split);
    var own = Sums(splits[at + params.headDim], splits[at + params.headDim + 1u], array<f32, perThread>());
    for (var i = 0u; i * ${threads}u + t < params.headDim; i++) { own.values[i] = splits[at + i * ${threads}u + t]; }
    sum = added(sum, own);
  }
  give((row * params.nHeads + head) * params.headDim, t, sum);`,
});
