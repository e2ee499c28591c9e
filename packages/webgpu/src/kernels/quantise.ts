/**
 * quantise and rmsNormQuant: int8 with one scale a row or one for each 128 columns, four to a word, zeros behind the last column. A workgroup for each row.
 */
import { type Kernel, kernel } from "./kernel.ts";
import { sumOfAll } from "./rms-norm.ts";

const normed = `${sumOfAll}
fn valueAt(row: u32, col: u32, r: f32) -> f32 {
  if (col >= params.cols) { return 0.0; }
  return (x[row * params.cols + col] * r) * weight[col];
}`;
const plain = `
fn valueAt(row: u32, col: u32, r: f32) -> f32 {
  if (col >= params.cols) { return 0.0; }
  return x[row * params.cols + col];
}`;

export function quantise(isNormed: boolean): Kernel {
  return kernel(isNormed ? "rmsNormQuant" : "quantise", {
    params: ["cols: u32", "words: u32", "isGrouped: u32", "operation: u32", "eps: f32"],
    buffers: [
      ["read", "x: f32"],
      ...(isNormed ? [["read", "weight: f32"] as const] : []),
      ["write", "out: u32"],
      ["write", "scales: f32"],
    ],
    usesRows: true,
    threads: 256,
    declarations: `${isNormed ? normed : plain}
var<workgroup> most: array<u32, 256>;
fn magnitudeOf(row: u32, word: u32, r: f32) -> u32 {
  var bits = 0u;
  for (var i = 0u; i < 4u; i++) { bits = max(bits, bitcast<u32>(valueAt(row, 4u * word + i, r)) & 0x7fffffffu); }
  return bits;
}
// The largest of each stretch of \`threads\`, a power of two, in its first place.
fn reduceMost(t: u32, threads: u32) {
  workgroupBarrier();
  for (var half = threads >> 1u; half > 0u; half >>= 1u) {
    if ((t & (threads - 1u)) < half) { most[t] = max(most[t], most[t + half]); }
    workgroupBarrier();
  }
}
fn scaleOf(bits: u32) -> f32 { return 127.0 / max(bitcast<f32>(bits), 1e-5f); }
fn writeWord(row: u32, word: u32, r: f32, s: f32) {
  var packed = 0u;
  for (var i = 0u; i < 4u; i++) {
    let q = i32(clamp(round(valueAt(row, 4u * word + i, r) * s), -128.0, 127.0));
    packed |= (u32(q) & 255u) << (8u * i);
  }
  out[row * params.words + word] = packed;
}`,
    body: `
  let row = group.y;
  var r = 1.0;
${
  isNormed
    ? `  var own = 0.0;
  for (var i = t; i < params.cols; i += 256u) { let value = x[row * params.cols + i]; own = fma(value, value, own); }
  r = 1.0 / sqrt(sumOfAll(own, t) / f32(params.cols) + params.eps);`
    : ""
}
  if (params.isGrouped == 0u) {
    var bits = 0u;
    for (var w = t; w < params.words; w += 256u) { bits = max(bits, magnitudeOf(row, w, r)); }
    most[t] = bits;
    reduceMost(t, 256u);
    let s = scaleOf(most[0]);
    if (t == 0u) {
      if (most[0] >= 0x7f800000u) { fail(params.operation, row); }
      scales[row] = s;
    }
    for (var w = t; w < params.words; w += 256u) { writeWord(row, w, r, s); }
    return;
  }
  for (var first = 0u; first < params.words; first += 256u) {
    let w = first + t;
    most[t] = select(0u, magnitudeOf(row, w, r), w < params.words);
    reduceMost(t, 32u);
    let bits = most[t & ~31u];
    let s = scaleOf(bits);
    if (w < params.words) {
      if ((t & 31u) == 0u) {
        if (bits >= 0x7f800000u) { fail(params.operation, row); }
        scales[row * (params.words / 32u) + w / 32u] = s;
      }
      writeWord(row, w, r, s);
    }
    workgroupBarrier();
  }`,
  });
}
