/**
 * Divisors of rotations that GGUF files keep in tensors, in place of a rule that metadata cannot say: one list for all contexts (`rope_freqs`, of
 * Llama 3's rule), or LongRoPE's two (`rope_factors_short`, `rope_factors_long`). Source of names and meaning: llama.cpp's converter and loader.
 */
import { BitNetError } from "../base/errors.ts";
import { readTensor, type TensorInfo, typeName } from "../formats/tensor.ts";
import { widenRows } from "../packing/dense.ts";
import type { RopeScaling, RopeShape } from "./rope-scaling.ts";

/** Names without ".weight". */
export const ropeTensorNames = {
  all: "rope_freqs",
  short: "rope_factors_short",
  long: "rope_factors_long",
} as const;

/** @param name A tensor's full name. */
export function isRopeTensor(name: string): boolean {
  return Object.values(ropeTensorNames).some((known) => name === `${known}.weight`);
}

/** Which tensors a model's rotations are divided by, as far as its files have any. */
export type RopeTensors =
  | { readonly kind: "all" }
  /** Both are read, so that each is checked; which one serves is a question of the context. */
  | { readonly kind: "by-context"; readonly originalContext: number; readonly attentionFactor: number };

/** @throws BitNetError MODEL_UNSUPPORTED when files divide rotations and the configuration stretches them as well. */
export function ropeTensorsOf(
  scaling: RopeScaling | null,
  has: (name: string) => boolean,
): RopeTensors | null {
  const isByContext = scaling?.type === "longrope-tensors";
  const extra = [ropeTensorNames.short, ropeTensorNames.long].filter((name) => !isByContext && has(name));
  if (extra.length > 0)
    throw new BitNetError(
      "MODEL_UNSUPPORTED",
      `tensor "${extra[0]}.weight" divides rotations, but the configuration does not say from which context on (rope.scaling.type is not "longrope")`,
    );
  if (has(ropeTensorNames.all)) {
    if (scaling !== null)
      throw new BitNetError(
        "MODEL_UNSUPPORTED",
        `tensor "${ropeTensorNames.all}.weight" divides rotations that the configuration stretches as well (${scaling.type}); only one of them is supported`,
      );
    return { kind: "all" };
  }
  if (!isByContext) return null;
  const { originalContext, attentionFactor } = scaling;
  return { kind: "by-context", originalContext, attentionFactor };
}

/** The shape with the divisors of its tensors, which `read` gives by name. */
export async function withRopeTensors(
  shape: RopeShape,
  tensors: RopeTensors,
  read: (name: string) => Promise<readonly number[]>,
): Promise<RopeShape> {
  if (tensors.kind === "all") {
    const list = await read(ropeTensorNames.all);
    const scaling = {
      type: "longrope",
      originalContext: shape.contextLength,
      shortFactors: list,
      longFactors: list,
      attentionFactor: 1,
    } as const;
    return { ...shape, scaling };
  }
  const { originalContext, attentionFactor } = tensors;
  const shortFactors = await read(ropeTensorNames.short);
  const longFactors = await read(ropeTensorNames.long);
  const scaling = { type: "longrope", originalContext, shortFactors, longFactors, attentionFactor } as const;
  return { ...shape, scaling };
}

/** @throws BitNetError MODEL_INVALID for a type other than f32, and for values that are no divisors. */
export async function readDivisors(tensor: TensorInfo): Promise<number[]> {
  if (tensor.type !== "f32")
    throw new BitNetError(
      "MODEL_INVALID",
      `tensor "${tensor.name}": expected divisors in f32, found ${typeName(tensor.type)}`,
      { details: { tensor: tensor.name } },
    );
  const count = tensor.shape.reduce((product, n) => product * n, 1);
  const factors = new Float32Array(count);
  widenRows("f32", await readTensor(tensor), count, 0, 1, factors);
  const wrong = factors.findIndex((factor) => !(factor > 0 && Number.isFinite(factor)));
  if (wrong >= 0)
    throw new BitNetError("MODEL_INVALID", `tensor "${tensor.name}": divisor ${wrong} is ${factors[wrong]}`);
  return Array.from(factors);
}
