/**
 * The two kinds of arithmetic that the reference runs in: f32, every step rounded as docs/numerics.md says, and f64 for checking
 * gradients against finite differences. One text serves both, so that what is checked is what runs.
 */
import { expF32, fma, logF32 } from "@bitnet.ts/core";
import type { Floats } from "../kernels.ts";

export interface Numbers {
  readonly name: "f32" | "f64";
  array(n: number): Floats;
  round(x: number): number;
  /** a · b + c with one rounding in f32. */
  fma(a: number, b: number, c: number): number;
  exp(x: number): number;
  log(x: number): number;
}

export const f32Numbers: Numbers = {
  name: "f32",
  array: (n) => new Float32Array(n),
  round: Math.fround,
  fma,
  exp: expF32,
  log: logF32,
};

/** Its exp and log are the engine's own: for checking only, not for reproducing bits. */
export const f64Numbers: Numbers = {
  name: "f64",
  array: (n) => new Float64Array(n),
  round: (x) => x,
  fma: (a, b, c) => a * b + c,
  exp: Math.exp,
  log: Math.log,
};

/** Reductions in 16 chains, folded 8, 4, 2, 1 (docs/numerics.md, "Stripes"). */
export function foldStripes({ round }: Numbers, chains: Floats): number {
  for (let half = 8; half >= 1; half /= 2)
    for (let j = 0; j < half; j++) chains[j] = round((chains[j] ?? 0) + (chains[j + half] ?? 0));
  return (chains[0] ?? 0) + 0;
}

export function dot(numbers: Numbers, a: Floats, aAt: number, b: Floats, bAt: number, n: number): number {
  const chains = numbers.array(16);
  for (let i = 0; i < n; i++)
    chains[i & 15] = numbers.fma(a[aAt + i] ?? 0, b[bAt + i] ?? 0, chains[i & 15] ?? 0);
  return foldStripes(numbers, chains);
}
