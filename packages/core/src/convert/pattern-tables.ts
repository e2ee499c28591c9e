/** Large tables of 16-bit floats by a look-up of their patterns: what is asked of every value is asked of 65,536. */
import type { TensorInfo } from "../formats/tensor.ts";
import { patternValues } from "../packing/dense.ts";
import { encodeDense } from "../packing/dense-encode.ts";
import { halfWords, nPatterns } from "../packing/half-words.ts";
import type { DenseType, StoredDenseType, TernaryShape } from "../packing/packing.ts";
import type { SourceWeight } from "./source.ts";
import { denseTypeOf, storedSlices, widenedSlices } from "./weights.ts";

type HalfType = "f16" | "bf16";

function isHalf(type: StoredDenseType): type is HalfType {
  return type === "f16" || type === "bf16";
}

/** Whether a table over all patterns is smaller than the tensor. */
export function isLookedUp(type: StoredDenseType, { rows, cols }: TernaryShape): type is HalfType {
  return isHalf(type) && rows * cols > nPatterns;
}

/** A tensor of a 16-bit type as its patterns, in slices. */
export async function* storedWords(tensor: TensorInfo): AsyncGenerator<Uint16Array> {
  for await (const slice of storedSlices(tensor)) yield halfWords(slice, 0, slice.length / 2);
}

/**
 * A dense weight in another type, in slices.
 * @throws BitNetError FORMAT_UNSUPPORTED where a value is beyond f16.
 */
export async function* encodedSlices(weight: SourceWeight, type: DenseType): AsyncGenerator<Uint8Array> {
  const stored = denseTypeOf(weight.tensor);
  if (!isLookedUp(stored, weight) || !isHalf(type)) {
    for await (const values of widenedSlices(weight.tensor, weight)) yield encodeDense(type, values);
    return;
  }
  const values = patternValues(stored);
  const patterns = new Int32Array(nPatterns).fill(-1); // not asked for yet
  for await (const words of storedWords(weight.tensor)) {
    const out = new Uint8Array(2 * words.length);
    for (let i = 0; i < words.length; i++) {
      const word = words[i] ?? 0;
      let pattern = patterns[word] ?? 0;
      if (pattern < 0) {
        const [low = 0, high = 0] = encodeDense(type, values.subarray(word, word + 1));
        pattern = low | (high << 8);
        patterns[word] = pattern;
      }
      out[2 * i] = pattern;
      out[2 * i + 1] = pattern >> 8;
    }
    yield out;
  }
}
