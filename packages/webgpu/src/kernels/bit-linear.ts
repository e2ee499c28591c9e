/**
 * bitLinear: up to three ternary matrices, one below the other, times int8 activations, exact in int32. Lanes that share a row of weights take
 * 16 bytes (64 weights) each at a time; word j of a block of 32, shifted by 6 − 2f, meets activations 32f + 4j … + 3. What many rows take is in bit-linear-tile.ts.
 */
import { type Access, type Kernel, kernel } from "./kernel.ts";

export interface BitLinearVariant {
  /** Whether scales differ within a row, of the weights or of the activations; then products become floats block by block. */
  isGrouped: boolean;
  /** Whether the language has dot4I8Packed. */
  hasDot4: boolean;
}

const dot4 = `
fn dot4(a: u32, b: u32) -> i32 {
  var sum = 0;
  for (var shift = 0u; shift < 32u; shift += 8u) {
    sum += (i32(a << (24u - shift)) >> 24u) * (i32(b << (24u - shift)) >> 24u);
  }
  return sum;
}`;

export const bitLinearParams = [
  "blocks: u32",
  "nOut: u32",
  "end0: u32",
  "end1: u32",
  "scaleGroups: u32", // of a row of weights
  "blocksPerGroup: u32",
  "activationGroups: u32", // of a row of activations
  "isGroupedInput: u32",
] as const;

export const bitLinearBuffers: readonly (readonly [Access, string])[] = [
  ["read", "weights: vec4<u32>"],
  ["read", "weightScales: f32"],
  ["read", "x: vec4<u32>"],
  ["read", "xScales: f32"],
  ["write", "out0: f32"],
  ["write", "out1: f32"],
  ["write", "out2: f32"],
];

/** What all variants have in common, \`give\` for a finished sum among it. */
export function bitLinearFunctions({ isGrouped, hasDot4 }: BitLinearVariant): string {
  return `${hasDot4 ? "fn dot4(a: u32, b: u32) -> i32 { return dot4I8Packed(a, b); }" : dot4}
// Codes less one in each byte, without borrowing from the next.
fn trits(codes: vec4<u32>) -> vec4<u32> {
  return (((codes & vec4(0x03030303u)) | vec4(0x80808080u)) - vec4(0x01010101u)) ^ vec4(0x80808080u);
}
fn products(w: vec4<u32>, a: vec4<u32>) -> i32 {
  return dot4(w.x, a.x) + dot4(w.y, a.y) + dot4(w.z, a.z) + dot4(w.w, a.w);
}
fn weightScale(r: u32, block: u32) -> f32 {
  if (params.scaleGroups == 1u) { return 1.0; }
  return weightScales[r * params.scaleGroups + block / params.blocksPerGroup];
}
fn activationScale(row: u32, block: u32) -> f32 {
  if (params.isGroupedInput == 0u) { return 1.0; }
  return 1.0 / xScales[row * params.activationGroups + block];
}
fn give(acc: ${isGrouped ? "f32" : "i32"}, row: u32, r: u32) {
  ${
    isGrouped
      ? `var value = acc;
  if (params.isGroupedInput == 0u) { value *= 1.0 / xScales[row]; }
  if (params.scaleGroups == 1u) { value *= weightScales[r]; }`
      : "let value = f32(acc) * (weightScales[r] / xScales[row]);"
  }
  if (r < params.end0) { out0[row * params.end0 + r] = value; }
  else if (r < params.end1) { out1[row * (params.end1 - params.end0) + r - params.end0] = value; }
  else { out2[row * (params.nOut - params.end1) + r - params.end1] = value; }
}`;
}

export function bitLinearName({ isGrouped, hasDot4 }: BitLinearVariant): string {
  return `${isGrouped ? "grouped" : "whole"}${hasDot4 ? " dot4" : ""}`;
}

/**
 * Sixteen lanes share two rows of weights, so that each has two readings under way and activations are read half as often; where sums are floats, whose
 * order counts, eight share one. A workgroup of 64 has eight rows either way.
 * @param tile Rows of activations that share one reading of the weights.
 */
export function bitLinear(tile: 1 | 4, variant: BitLinearVariant): Kernel {
  const { isGrouped } = variant;
  const type = isGrouped ? "f32" : "i32";
  const [lanes, nRows] = isGrouped ? [8, 1] : [16, 2];
  const sums = nRows * tile;
  const perRow = (text: (j: number) => string) =>
    Array.from({ length: nRows }, (_, j) => text(j)).join("\n    ");
  const product = (j: number) => [0, 1, 2, 3].map((f) => `products(w${j}_${f}, a${f})`).join(" + ");
  return kernel(`bitLinear ${tile} ${bitLinearName(variant)}`, {
    params: bitLinearParams,
    buffers: bitLinearBuffers,
    threads: 64,
    declarations: `${bitLinearFunctions(variant)}
var<workgroup> partial: array<${type}, ${64 * sums}>;`,
    body: `
  let lane = t % ${lanes}u;
  let begin = t - lane;
  let r = group.x * 8u + (t / ${lanes}u) * ${nRows}u;
  let first = group.y * ${tile}u;
  ${perRow((j) => `let own${j} = min(r + ${j}u, params.nOut - 1u);`)}
  var acc: array<${type}, ${sums}>;
  for (var v = lane; v < params.blocks * 2u; v += ${lanes}u) {
    ${perRow((j) => `let codes${j} = weights[own${j} * params.blocks * 2u + v];`)}
    ${perRow((j) => [6, 4, 2, 0].map((shift, f) => `let w${j}_${f} = trits(codes${j} >> vec4(${shift}u));`).join(" "))}
    for (var i = 0u; i < ${tile}u; i++) {
      let row = ${tile === 1 ? "first" : "min(first + i, step.nRows - 1u)"};
      let at = (row * params.blocks + (v >> 1u)) * 8u + (v & 1u);
      ${[0, 1, 2, 3].map((f) => `let a${f} = x[at + ${2 * f}u];`).join(" ")}
      ${perRow((j) =>
        isGrouped
          ? `acc[i] += f32(${product(j)}) * (weightScale(own${j}, v >> 1u) * activationScale(row, v >> 1u));`
          : `acc[${nRows}u * i + ${j}u] += ${product(j)};`,
      )}
    }
  }
  for (var i = 0u; i < ${sums}u; i++) { partial[t * ${sums}u + i] = acc[i]; }
  workgroupBarrier();
  let row = first + lane / ${nRows}u;
  let out = r + lane % ${nRows}u;
  if (lane >= ${sums}u || row >= step.nRows || out >= params.nOut) { return; }
  var sum = partial[begin * ${sums}u + lane];
  for (var i = 1u; i < ${lanes}u; i++) { sum += partial[(begin + i) * ${sums}u + lane]; }
  give(sum, row, out);`,
  });
}
