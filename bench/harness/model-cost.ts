/** What a model asks of a machine: multiply-adds and bytes, from its shape. */
import { dummyShapes, planTensors } from "@bitnet.ts/cli/measuring";
import type { ModelInfo } from "bitnet.ts";

/** Ternary multiply-adds of one token. */
export function bodyMacs({ nLayers, hiddenSize, ffnSize, nHeads, nKvHeads, headDim }: ModelInfo): number {
  const attention = 2 * hiddenSize * (nHeads + nKvHeads) * headDim;
  return nLayers * (attention + 3 * hiddenSize * ffnSize);
}

/** f32 multiply-adds of the scores and the values of a prompt, each token of which sees itself and those before it. */
export function attentionMacs({ nLayers, nHeads, headDim }: ModelInfo, nPrompt: number): number {
  return nLayers * nHeads * headDim * nPrompt * (nPrompt + 1);
}

/** Bytes of weights that decoding one token of a size reads: rows of ternary weights padded to 128, an f16 head, f32 norms. */
export function decodeBytes(shapeName: string): number {
  const shape = dummyShapes.find(({ name }) => name === shapeName);
  if (shape === undefined) throw new Error(`there is no size "${shapeName}"`);
  return planTensors(shape).reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

function tensorBytes({ kind, shape }: ReturnType<typeof planTensors>[number]): number {
  const [rows = 1, cols = rows] = shape;
  if (kind === "ternary") return rows * Math.ceil(cols / 128) * 32;
  if (kind === "ternary table") return rows * Math.ceil(cols / 128) * 34;
  return kind === "norm" ? 4 * cols : 2 * rows * cols;
}
