/** The RoPE table of docs/numerics.md: the same bits on every engine. */
import { pow64, sinCos64 } from "../base/elementary64.ts";

/** f32 [contextLength, headDim]: for each position headDim/2 cosines, then headDim/2 sines. */
export function ropeTable(contextLength: number, headDim: number, theta: number): Float32Array {
  const half = headDim / 2;
  const inverse = Float32Array.from({ length: half }, (_, i) => pow64(theta, (-2 * i) / headDim));
  const table = new Float32Array(contextLength * headDim);
  for (let position = 0; position < contextLength; position++) {
    const row = position * headDim;
    for (let i = 0; i < half; i++) {
      const { sin, cos } = sinCos64(Math.fround(position * (inverse[i] ?? 0)));
      table[row + i] = cos;
      table[row + half + i] = sin;
    }
  }
  return table;
}
