/** The RoPE table of docs/numerics.md: the same bits on every engine. */
import { sinCos64 } from "../base/elementary64.ts";
import { type RopeShape, ropeFrequencies } from "./rope-scaling.ts";

/** f32 [contextLength, headDim]: for each position headDim/2 cosines, then headDim/2 sines. */
export function ropeTable(shape: RopeShape): Float32Array {
  const { contextLength, headDim } = shape;
  const half = headDim / 2;
  const { inverse, factor } = ropeFrequencies(shape);
  const table = new Float32Array(contextLength * headDim);
  for (let position = 0; position < contextLength; position++) {
    const row = position * headDim;
    for (let i = 0; i < half; i++) {
      const { sin, cos } = sinCos64(Math.fround(position * (inverse[i] ?? 0)));
      table[row + i] = cos * factor;
      table[row + half + i] = sin * factor;
    }
  }
  return table;
}
