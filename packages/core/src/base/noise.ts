/**
 * Sampling noise: counter-based, so that a draw depends only on (seed, choice, index, token) and never on load, batch or
 * order. Threefry-2x32, 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011); only 32-bit adds,
 * rotations and xors, so that C++ and WGSL follow bit for bit.
 */
import { logF32 } from "./elementary.ts";

const f32 = Math.fround;
const parity = 0x1bd11bda;
const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;

/** First word of Threefry-2x32-20 under `key0, key1` at counter `c0, c1`, as an unsigned 32-bit integer. */
export function threefry(key0: number, key1: number, c0: number, c1: number): number {
  const k0 = key0 | 0;
  const k1 = key1 | 0;
  const keys = [k0, k1, parity ^ k0 ^ k1];
  let x0 = (c0 + k0) | 0;
  let x1 = (c1 + k1) | 0;
  for (let round = 0; round < 20; round++) {
    const rotation = rotations[round & 7] ?? 0;
    x0 = (x0 + x1) | 0;
    x1 = (x1 << rotation) | (x1 >>> (32 - rotation));
    x1 ^= x0;
    if ((round & 3) === 3) {
      const injection = (round >> 2) + 1;
      x0 = (x0 + (keys[injection % 3] ?? 0)) | 0;
      x1 = (x1 + (keys[(injection + 1) % 3] ?? 0) + injection) | 0;
    }
  }
  return x0 >>> 0;
}

/** Position of a draw: which seed, which of the parallel choices of a request, which generated token. */
export interface NoisePoint {
  /** Unsigned 32-bit. */
  seed: number;
  choice: number;
  /** 0 for the first generated token. */
  index: number;
}

/** Standard Gumbel noise for one token: −log(−log u), u = (2k + 1)·2⁻²⁴ with k of 23 bits. f32. */
export function gumbel(point: NoisePoint, token: number): number {
  const k = threefry(point.seed, point.choice, point.index, token) >>> 9;
  const u = f32((2 * k + 1) * 2 ** -24);
  return -logF32(-logF32(u));
}
