/** quantise and rmsNormQuant: int8 with one scale a row or one for each 128 columns, four to a word, zeros behind the last column. */
import { mostOfFunction, sumOfFunction } from "./reductions.ts";
import type { RowPart } from "./row-part.ts";

const scaleFunction =
  "fn quantiserScaleOf(bits: u32) -> f32 { return 127.0 / max(bitcast<f32>(bits), 1e-5f); }";

export function quantise(isNormed: boolean): RowPart {
  const value = isNormed ? "($x[row * $cols + col] * r) * $weight[col]" : "$x[row * $cols + col]";
  return {
    name: isNormed ? "rmsNormQuant" : "quantise",
    params: [
      "cols: u32",
      "words: u32",
      "isGrouped: u32",
      "operation: u32",
      ...(isNormed ? ["eps: f32"] : []),
    ],
    buffers: [
      ["read", "x: f32"],
      ...(isNormed ? [["read", "weight: f32"] as const] : []),
      ["write", "out: u32"],
      ["write", "scales: f32"],
    ],
    shared: [mostOfFunction, scaleFunction, ...(isNormed ? [sumOfFunction] : [])],
    declarations: `
fn $valueAt(row: u32, col: u32, r: f32) -> f32 {
  if (col >= $cols) { return 0.0; }
  return ${value};
}
fn $magnitudeOf(row: u32, word: u32, r: f32) -> u32 {
  var bits = 0u;
  for (var i = 0u; i < 4u; i++) { bits = max(bits, bitcast<u32>($valueAt(row, 4u * word + i, r)) & 0x7fffffffu); }
  return bits;
}
fn $writeWord(row: u32, word: u32, r: f32, s: f32) {
  var packed = 0u;
  for (var i = 0u; i < 4u; i++) {
    let q = i32(clamp(round($valueAt(row, 4u * word + i, r) * s), -128.0, 127.0));
    packed |= (u32(q) & 255u) << (8u * i);
  }
  $out[row * $words + word] = packed;
}`,
    body: `
    var r = 1.0;
${
  isNormed
    ? `    var own = 0.0;
    for (var i = t; i < $cols; i += threads) { own = fma($x[row * $cols + i], $x[row * $cols + i], own); }
    r = 1.0 / sqrt(sumOf(own, t, threads) / f32($cols) + $eps);`
    : ""
}
    // A stretch of threads for each scale, and its words.
    let lanes = select(32u, threads, $isGrouped == 0u);
    let stride = select(threads, $words, $isGrouped == 0u);
    let nScales = select($words / 32u, 1u, $isGrouped == 0u);
    for (var first = 0u; first < $words; first += stride) {
      let end = min(first + stride, $words);
      var bits = 0u;
      for (var w = first + t; w < end; w += threads) { bits = max(bits, $magnitudeOf(row, w, r)); }
      let most = mostOf(bits, t, lanes);
      let s = quantiserScaleOf(most);
      if (t % lanes == 0u && first + t < end) {
        if (most >= 0x7f800000u) { fail($operation, row); }
        $scales[row * nScales + (first + t) / 32u] = s;
      }
      for (var w = first + t; w < end; w += threads) { $writeWord(row, w, r, s); }
    }`,
  };
}
