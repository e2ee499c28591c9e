/**
 * Reads elements of dense matrices of every type where they lie, as packing/dense.ts widens them. `weightAt(row, col)` is any element,
 * `pairAt(row, k)` elements 2k and 2k + 1 of a row, 0 where a row ends before. The table is `weights`, in words.
 */
import type { DenseType } from "@bitnet.ts/core";
import { fromF16Function } from "./elementary.ts";

const bytes = `
fn byteAt(i: u32) -> u32 { return (weights[i >> 2u] >> (8u * (i & 3u))) & 255u; }
fn halfAt(i: u32) -> u32 { return (weights[i >> 2u] >> (8u * (i & 2u))) & 0xffffu; }
fn signedByteAt(i: u32) -> f32 { return f32(i32(byteAt(i) << 24u) >> 24u); }
${fromF16Function}
`;

/** Of a type whose row fills whole blocks: where block and place within it are known. */
const blocked = (elements: number, blockBytes: number, body: string) => `${bytes}
fn weightAt(row: u32, col: u32) -> f32 {
  let at = (row * (params.cols / ${elements}u) + col / ${elements}u) * ${blockBytes}u;
  let i = col % ${elements}u;
  ${body}
}`;

const elements: Readonly<Record<DenseType, string>> = {
  f32: "fn weightAt(row: u32, col: u32) -> f32 { return bitcast<f32>(weights[row * params.cols + col]); }",
  f16: `${bytes}
fn weightAt(row: u32, col: u32) -> f32 { return fromF16(halfAt(2u * (row * params.cols + col))); }`,
  bf16: `${bytes}
fn weightAt(row: u32, col: u32) -> f32 { return bitcast<f32>(halfAt(2u * (row * params.cols + col)) << 16u); }`,
  q8_0: blocked(32, 34, "return fromF16(halfAt(at)) * signedByteAt(at + 2u + i);"),
  q4_0: blocked(
    32,
    18,
    `let pair = byteAt(at + 2u + (i & 15u));
  return fromF16(halfAt(at)) * (f32(select(pair & 15u, pair >> 4u, i >= 16u)) - 8.0);`,
  ),
  trits: blocked(
    128,
    34,
    `return fromF16(halfAt(at)) * (f32((byteAt(at + 2u + (i >> 2u)) >> (2u * (i & 3u))) & 3u) - 1.0);`,
  ),
  q6_k: blocked(
    256,
    210,
    `let part = i >> 7u;
  let k = (i >> 5u) & 3u;
  let l = i & 31u;
  let low = (byteAt(at + 64u * part + 32u * (k & 1u) + l) >> select(4u, 0u, k < 2u)) & 15u;
  let high = (byteAt(at + 128u + 32u * part + l) >> (2u * k)) & 3u;
  let sub = signedByteAt(at + 192u + 8u * part + 2u * k + (l >> 4u));
  return (fromF16(halfAt(at + 208u)) * sub) * (f32(low | (high << 4u)) - 32.0);`,
  ),
  q4_k: blocked(
    256,
    144,
    `let run = i >> 5u;
  let l = i & 31u;
  var scale = byteAt(at + 4u + run) & 63u;
  var least = byteAt(at + 8u + run) & 63u;
  if (run >= 4u) {
    let both = byteAt(at + 8u + run);
    scale = (both & 15u) | ((byteAt(at + run) >> 6u) << 4u);
    least = (both >> 4u) | ((byteAt(at + 4u + run) >> 6u) << 4u);
  }
  let pair = byteAt(at + 16u + 32u * (run >> 1u) + l);
  let q = f32(select(pair >> 4u, pair & 15u, (run & 1u) == 0u));
  return (fromF16(halfAt(at)) * f32(scale)) * q - fromF16(halfAt(at + 2u)) * f32(least);`,
  ),
};

/** One word holds both where rows begin at whole words. */
const pairs: Partial<Record<DenseType, string>> = {
  f16: "let word = weights[((row * params.cols) >> 1u) + k]; return vec2(fromF16(word & 0xffffu), fromF16(word >> 16u));",
  bf16: "let word = weights[((row * params.cols) >> 1u) + k]; return vec2(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u));",
};

export function denseElements(type: DenseType): string {
  const fast = pairs[type];
  return `${elements[type]}
fn pairAt(row: u32, k: u32) -> vec2<f32> {
  ${fast === undefined ? "" : `if ((params.cols & 1u) == 0u) { ${fast} }`}
  var second = 0.0;
  if (2u * k + 1u < params.cols) { second = weightAt(row, 2u * k + 1u); }
  return vec2(weightAt(row, 2u * k), second);
}`;
}
