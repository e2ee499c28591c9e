/**
 * bitLinear of many rows: a workgroup for 64 rows of weights and 64 of activations. 64 columns of both at a time go to memory that it shares, the weights
 * as int8, and each of its 128 threads has 8 × 4 sums. Where scales differ within a row, columns are taken in the order of bit-linear.ts, so that the sums are the same.
 */
import {
  type BitLinearVariant,
  bitLinearBuffers,
  bitLinearFunctions,
  bitLinearName,
  bitLinearParams,
} from "./bit-linear.ts";
import { type Kernel, kernel } from "./kernel.ts";

/** Rows of weights, and of activations, of a workgroup. */
export const tileRows = 64;

/** A row of 64 columns, four vectors, and one of padding: eight neighbours begin in eight different banks. */
const rowVectors = 5;

export function bitLinearTile(variant: BitLinearVariant): Kernel {
  const { isGrouped } = variant;
  const type = isGrouped ? "f32" : "i32";
  const pass = `
    workgroupBarrier();
    if (t < 64u) {
      let codes = weights[min(base + t, params.nOut - 1u) * params.blocks * 2u + v];
      for (var f = 0u; f < 4u; f++) { w[t * ${rowVectors}u + f] = trits(codes >> vec4(6u - 2u * f)); }
    } else {
      let at = (min(first + t - 64u, step.nRows - 1u) * params.blocks + (v >> 1u)) * 8u + (v & 1u);
      for (var f = 0u; f < 4u; f++) { a[(t - 64u) * ${rowVectors}u + f] = x[at + 2u * f]; }
    }
    workgroupBarrier();
    var sums = array<i32, 32>();
    for (var f = 0u; f < 4u; f++) {
      var own = array<vec4<u32>, 4>();
      for (var j = 0u; j < 4u; j++) { own[j] = a[(h + 16u * j) * ${rowVectors}u + f]; }
      for (var i = 0u; i < 8u; i++) {
        let codes = w[(g + 8u * i) * ${rowVectors}u + f];
        for (var j = 0u; j < 4u; j++) { sums[i * 4u + j] += products(codes, own[j]); }
      }
    }
    for (var i = 0u; i < 8u; i++) {
      ${isGrouped ? "let scale = weightScale(min(base + g + 8u * i, params.nOut - 1u), v >> 1u);" : ""}
      for (var j = 0u; j < 4u; j++) { ${
        isGrouped
          ? "acc[i * 4u + j] += f32(sums[i * 4u + j]) * (scale * activationScale(min(first + h + 16u * j, step.nRows - 1u), v >> 1u));"
          : "acc[i * 4u + j] += sums[i * 4u + j];"
      } }
    }`;
  return kernel(`bitLinear ${tileRows} ${bitLinearName(variant)}`, {
    params: bitLinearParams,
    buffers: bitLinearBuffers,
    threads: 128,
    declarations: `${bitLinearFunctions(variant)}
var<workgroup> w: array<vec4<u32>, ${tileRows * rowVectors}>;
var<workgroup> a: array<vec4<u32>, ${tileRows * rowVectors}>;`,
    body: `
  let g = t & 7u;
  let h = t >> 3u;
  let base = group.x * ${tileRows}u;
  let first = group.y * ${tileRows}u;
  var acc: array<${type}, 32>;
${
  isGrouped
    ? `  var total: array<f32, 32>;
  for (var lane = 0u; lane < 8u; lane++) {
    for (var i = 0u; i < 32u; i++) { acc[i] = 0.0; }
    for (var v = lane; v < params.blocks * 2u; v += 8u) {${pass}
    }
    for (var i = 0u; i < 32u; i++) { total[i] = select(total[i] + acc[i], acc[i], lane == 0u); }
  }
  acc = total;`
    : `  for (var v = 0u; v < params.blocks * 2u; v++) {${pass}
  }`
}
  for (var i = 0u; i < 8u; i++) {
    let r = base + g + 8u * i;
    for (var j = 0u; j < 4u; j++) {
      let row = first + h + 16u * j;
      if (r < params.nOut && row < step.nRows) { give(acc[i * 4u + j], row, r); }
    }
  }`,
  });
}
