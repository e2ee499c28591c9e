/**
 * How rotations are stretched for contexts beyond those of training: the inverse frequencies, and the factor on the table ("attention factor").
 * Linear: "Extending Context Window" (Chen et al., 2023). Dynamic NTK and Llama 3: transformers' `modeling_rope_utils`. YaRN: Peng et al., 2023, section 3.
 */
import { log64, pow64 } from "../base/elementary64.ts";
import { BitNetError } from "../base/errors.ts";

export type RopeScaling =
  | { readonly type: "linear"; readonly factor: number }
  /** The base grows with the context that the model is opened with, as far as that exceeds the one of training. */
  | { readonly type: "dynamic"; readonly factor: number; readonly originalContext: number }
  | {
      readonly type: "yarn";
      readonly factor: number;
      readonly originalContext: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Of the table; null: 0.1 · ln(factor) + 1. */
      readonly attentionFactor: number | null;
    }
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly originalContext: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
    }
  /** Divisors of the frequencies, those for contexts up to that of training and those beyond. */
  | {
      readonly type: "longrope";
      readonly originalContext: number;
      readonly shortFactors: readonly number[];
      readonly longFactors: readonly number[];
      readonly attentionFactor: number;
    }
  /** The same, its divisors in the tensors `rope_factors_short` and `rope_factors_long` of a GGUF file (`rope-tensors.ts` reads them). */
  | { readonly type: "longrope-tensors"; readonly originalContext: number; readonly attentionFactor: number };

export interface RopeShape {
  contextLength: number;
  headDim: number;
  theta: number;
  scaling: RopeScaling | null;
}

export interface RopeFrequencies {
  /** f32 [headDim / 2] */
  inverse: Float32Array;
  /** Multiplies cosines and sines. */
  factor: number;
}

export function ropeFrequencies(shape: RopeShape): RopeFrequencies {
  const { scaling, headDim } = shape;
  const inverse = (theta: number, of: (frequency: number, i: number) => number = (frequency) => frequency) =>
    Float32Array.from({ length: headDim / 2 }, (_, i) => of(pow64(theta, (-2 * i) / headDim), i));
  switch (scaling?.type) {
    case undefined:
      return { inverse: inverse(shape.theta), factor: 1 };
    case "linear":
      return { inverse: inverse(shape.theta, (frequency) => frequency / scaling.factor), factor: 1 };
    case "dynamic":
      return { inverse: inverse(dynamicTheta(shape, scaling)), factor: 1 };
    case "yarn": {
      const { factor, attentionFactor } = scaling;
      const share = yarnShare(shape, scaling);
      const usual = factor <= 1 ? 1 : 0.1 * log64(factor) + 1;
      return {
        inverse: inverse(
          shape.theta,
          (frequency, i) => (frequency / factor) * share(i) + frequency * (1 - share(i)),
        ),
        factor: attentionFactor ?? usual,
      };
    }
    case "llama3":
      return { inverse: inverse(shape.theta, (frequency) => llama3(frequency, scaling)), factor: 1 };
    case "longrope": {
      const isLong = shape.contextLength > scaling.originalContext;
      const divisors = isLong ? scaling.longFactors : scaling.shortFactors;
      return {
        inverse: inverse(shape.theta, (frequency, i) => frequency / (divisors[i] ?? 1)),
        factor: scaling.attentionFactor,
      };
    }
    case "longrope-tensors":
      throw new BitNetError("INTERNAL", "rotations: the divisors of a file's tensors were not read");
  }
}

type Of<Type extends RopeScaling["type"]> = Extract<RopeScaling, { type: Type }>;

function dynamicTheta(
  { theta, headDim, contextLength }: RopeShape,
  { factor, originalContext }: Of<"dynamic">,
): number {
  if (contextLength <= originalContext) return theta;
  const growth = (factor * contextLength) / originalContext - (factor - 1);
  return theta * pow64(growth, headDim / (headDim - 2));
}

/** By frequency: how much of it is interpolated, 0 (turns often within the context of training) … 1 (less than once). */
function yarnShare(
  { headDim, theta }: RopeShape,
  { originalContext, betaFast, betaSlow }: Of<"yarn">,
): (i: number) => number {
  const indexOf = (turns: number) =>
    (headDim * log64(originalContext / (turns * 2 * Math.PI))) / (2 * log64(theta));
  const low = Math.max(Math.floor(indexOf(betaFast)), 0);
  const high = Math.min(Math.ceil(indexOf(betaSlow)), headDim - 1);
  const width = high === low ? 0.001 : high - low;
  return (i) => Math.min(1, Math.max(0, (i - low) / width));
}

function llama3(
  frequency: number,
  { factor, originalContext, lowFreqFactor, highFreqFactor }: Of<"llama3">,
): number {
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength > originalContext / lowFreqFactor) return frequency / factor;
  if (wavelength < originalContext / highFreqFactor) return frequency;
  const smooth = (originalContext / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}
