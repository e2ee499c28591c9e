/**
 * The row-wise operations of docs/numerics.md in plain TypeScript: the specification that every other backend must match bit
 * for bit. Flat buffers and sizes only; clarity before speed.
 */
import { elementaryConstants, expF32, roundTiesToEven } from "../../base/elementary.ts";
import { fma } from "../../base/fma.ts";
import type { OpOf } from "../operations.ts";

const f32 = Math.fround;
const smallestAbsMax = f32(1e-5);
const infinityBits = 0x7f800000;

/** Adds chains 8…15 to 0…7, then 4…7 to 0…3, and so on; the final + 0 turns −0 into +0. */
export function foldStripes(chains: Float32Array): number {
  for (let half = 8; half >= 1; half /= 2)
    for (let j = 0; j < half; j++) chains[j] = (chains[j] ?? 0) + (chains[j + half] ?? 0);
  return f32((chains[0] ?? 0) + 0);
}

const chains = new Float32Array(16);

/** Dot product of a[aOffset…] and b[bOffset…] over n elements, in stripes. */
export function dot(a: Float32Array, aOffset: number, b: Float32Array, bOffset: number, n: number): number {
  chains.fill(0);
  for (let i = 0; i < n; i++)
    chains[i & 15] = fma(a[aOffset + i] as number, b[bOffset + i] as number, chains[i & 15] as number);
  return foldStripes(chains);
}

/** Largest bits & 0x7fffffff; ≥ 0x7f800000 when NaN or infinity is among them. */
export function absMaxBits(values: Float32Array): number {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  let largest = 0;
  for (let i = 0; i < bits.length; i++) largest = Math.max(largest, (bits[i] as number) & 0x7fffffff);
  return largest;
}

export function isFiniteBits(bits: number): boolean {
  return bits < infinityBits;
}

/** out = (x · r) · weight with r = 1 / sqrt(mean(x²) + eps). */
export function rmsNorm(x: Float32Array, weight: Float32Array, eps: number, out: Float32Array): void {
  const n = x.length;
  const meanSquare = f32(dot(x, 0, x, 0, n) / n);
  const r = f32(1 / f32(Math.sqrt(f32(meanSquare + f32(eps)))));
  for (let i = 0; i < n; i++) out[i] = f32((x[i] as number) * r) * (weight[i] as number);
}

/** Quantises one row to int8; returns the scale s of q = x · s, or null when the row is not finite. */
export function quantise(x: Float32Array, q: Int8Array): number | null {
  const bits = absMaxBits(x);
  if (!isFiniteBits(bits)) return null;
  const absMax = new Float32Array(Int32Array.of(bits).buffer)[0] as number;
  const s = f32(127 / Math.max(absMax, smallestAbsMax));
  for (let i = 0; i < x.length; i++) {
    const rounded = roundTiesToEven(f32((x[i] as number) * s));
    q[i] = Math.min(127, Math.max(-128, rounded));
  }
  return s;
}

/** Rotates one head in place. `table` holds headDim/2 cosines, then headDim/2 sines, from `tableOffset`. */
export function rope(
  x: Float32Array,
  offset: number,
  table: Float32Array,
  headDim: number,
  pairing: OpOf<"rope">["pairing"],
): void {
  const half = headDim / 2;
  for (let i = 0; i < half; i++) {
    const first = offset + (pairing === "half" ? i : 2 * i);
    const second = pairing === "half" ? first + half : first + 1;
    const x0 = x[first] as number;
    const x1 = x[second] as number;
    const cos = table[i] as number;
    const sin = table[half + i] as number;
    x[first] = fma(x0, cos, -f32(x1 * sin));
    x[second] = fma(x1, cos, f32(x0 * sin));
  }
}

/** out = fn(x). */
export function activate(fn: OpOf<"activation">["fn"], x: Float32Array, out: Float32Array): void {
  for (let i = 0; i < x.length; i++) out[i] = activated(fn, x[i] as number);
}

/** x = x + y. */
export function add(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < x.length; i++) x[i] = (x[i] as number) + (y[i] as number);
}

/** out = x · y. */
export function multiply(x: Float32Array, y: Float32Array, out: Float32Array): void {
  for (let i = 0; i < x.length; i++) out[i] = (x[i] as number) * (y[i] as number);
}

/** out = fn(gate) · up. */
export function gatedActivation(
  fn: OpOf<"activation">["fn"],
  gate: Float32Array,
  up: Float32Array,
  out: Float32Array,
): void {
  const activated = new Float32Array(gate.length);
  activate(fn, gate, activated);
  multiply(activated, up, out);
}

function activated(fn: OpOf<"activation">["fn"], g: number): number {
  switch (fn) {
    case "relu2": {
      const positive = g > 0 ? g : 0;
      return f32(positive * positive);
    }
    case "silu":
      return f32(g / f32(1 + expF32(-g)));
    case "gelu": {
      const { geluCubic, geluScale } = elementaryConstants;
      const inner = fma(geluCubic, f32(f32(g * g) * g), g);
      return f32(g / f32(1 + expF32(-f32(geluScale * inner))));
    }
  }
}
