/** Sampling noise in WGSL: Threefry to the bit, as base/noise.ts; of Gumbel noise what its two logarithms leave. */
import { logFunction } from "./elementary.ts";

const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;

/** A round; behind each fourth the keys come in. */
function round(i: number): string {
  const rotation = rotations[i & 7] ?? 0;
  const n = (i >> 2) + 1;
  const injection = (i & 3) === 3 ? ` x0 += k${n % 3}; x1 += k${(n + 1) % 3} + ${n}u;` : "";
  return `x0 += x1; x1 = (x1 << ${rotation}u) | (x1 >> ${32 - rotation}u); x1 ^= x0;${injection}`;
}

/** The noise of a token is off by at most 2⁻²⁰ · 17: 8 units of the last place of the largest, 16.64, and as many of its argument. */
export const gumbelFunction = `${logFunction}
fn threefry(k0: u32, k1: u32, c0: u32, c1: u32) -> u32 {
  let k2 = 0x1bd11bdau ^ k0 ^ k1;
  var x0 = c0 + k0;
  var x1 = c1 + k1;
  ${Array.from({ length: 20 }, (_, i) => round(i)).join("\n  ")}
  return x0;
}
fn gumbelOf(seed: u32, choice: u32, index: u32, token: u32) -> f32 {
  let k = threefry(seed, choice, index, token) >> 9u;
  return -logOf(-logOf(f32(2u * k + 1u) * 5.9604644775390625e-8f));
}
`;
