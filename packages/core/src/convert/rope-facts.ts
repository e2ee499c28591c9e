/**
 * How rotations are stretched, in the words of the other kind of file: `rope_scaling` of config.json, and of GGUF files the divisors in
 * `rope_freqs.weight` that stand for rules which metadata cannot say (llama.cpp's converter computes the same ones).
 */
import { BitNetError } from "../base/errors.ts";
import { readTensor, type TensorInfo } from "../formats/tensor.ts";
import type { ModelConfig } from "../model/model-config.ts";
import { type RopeScaling, ropeFrequencies } from "../model/rope-scaling.ts";
import { shortest } from "./shortest.ts";

export const divisorsName = "rope_freqs.weight";

/** What the frequencies of a model depend on. */
type Rotation = Pick<ModelConfig, "headDim" | "ropeTheta" | "ropeScaling" | "contextLength">;

/**
 * f32 [headDim / 2], by which frequencies are divided in place of the configuration's rule; null where metadata says the rule.
 * @throws BitNetError FORMAT_UNSUPPORTED for a rule that gives other frequencies for other contexts, which one list cannot.
 */
export function divisorsOf(config: Rotation): Float32Array | null {
  const { ropeScaling: scaling } = config;
  if (scaling === null || scaling.type === "linear" || scaling.type === "yarn" || isIdle(config)) return null;
  if (scaling.type === "dynamic" || (scaling.type === "longrope" && !isOneList(scaling, config)))
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `rotations are stretched by the rule "${scaling.type}", otherwise beyond ${scaling.originalContext} of the context's ${config.contextLength} positions; ` +
        "a GGUF file holds one list of divisors for all contexts",
      { details: { type: scaling.type } },
    );
  const plain = frequenciesOf({ ...config, ropeScaling: null });
  const wanted = frequenciesOf(config);
  return Float32Array.from(wanted, (frequency, i) => divisorBetween(config, i, plain[i] ?? 1, frequency));
}

/** A rule that changes nothing within the model's context. */
export function isIdle({ ropeScaling: scaling, contextLength }: Rotation): boolean {
  return scaling?.type === "dynamic" && contextLength <= scaling.originalContext;
}

function isOneList(scaling: RopeScaling & { type: "longrope" }, { contextLength }: Rotation): boolean {
  const { shortFactors, longFactors, originalContext, attentionFactor } = scaling;
  const isSame = contextLength <= originalContext || `${shortFactors}` === `${longFactors}`;
  return isSame && attentionFactor === 1;
}

function frequenciesOf({ headDim, ropeTheta: theta, ropeScaling: scaling, contextLength }: Rotation) {
  return ropeFrequencies({ headDim, theta, scaling, contextLength }).inverse;
}

/** The f32 that divides frequency `i` to the very f32 that the rule gives, where there is one; else the nearest, as llama.cpp's converter has it. */
function divisorBetween(config: Rotation, i: number, plain: number, wanted: number): number {
  const nearest = Math.fround(plain / wanted);
  const near = new Float32Array([nearest]);
  const bits = new Int32Array(near.buffer);
  for (const step of [0, 1, -2]) {
    bits[0] = (bits[0] ?? 0) + step;
    const divisor = near[0] ?? 1;
    const factors = Array.from<number>({ length: config.headDim / 2 }).fill(divisor);
    if (frequenciesOf({ ...config, ropeScaling: table(factors, config) })[i] === wanted) return divisor;
  }
  return nearest;
}

/** Whether some frequency that divisors in f32 give is not the one that the configuration's rule gives, by a unit in the last place. */
export function roundsRotations(config: Rotation): boolean {
  const divisors = divisorsOf(config);
  if (divisors === null) return false;
  const list = table(Array.from(divisors), config);
  return frequenciesOf({ ...config, ropeScaling: list }).join() !== frequenciesOf(config).join();
}

function table(factors: readonly number[], { contextLength }: Rotation): RopeScaling {
  return {
    type: "longrope",
    originalContext: contextLength,
    shortFactors: factors,
    longFactors: factors,
    attentionFactor: 1,
  };
}

/** Contexts of training that models with Llama 3's rule have had. */
const trainingContexts = [8192, 2048, 4096, 16384, 32768, 65536, 131072, 1024, 512, 256];

/**
 * The configuration's rule for the divisors of a GGUF file: Llama 3's where these are exactly its divisors with its usual bounds, and
 * else the list itself, which `longrope` is when contexts of all lengths have the same.
 * @throws BitNetError FORMAT_UNSUPPORTED beside another rule.
 */
export async function ruleOfDivisors(config: ModelConfig, tensor: TensorInfo): Promise<RopeScaling> {
  if (config.ropeScaling !== null || tensor.type !== "f32" || tensor.byteLength !== 2 * config.headDim)
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `tensor "${divisorsName}": expected ${config.headDim / 2} divisors in f32 and no other rule for rotations beside them`,
    );
  const bytes = await readTensor(tensor);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const factors = Array.from({ length: config.headDim / 2 }, (_, i) => view.getFloat32(4 * i, true));
  const factor = Math.max(...factors);
  for (const originalContext of trainingContexts) {
    if (!(factor > 1)) break;
    const rule: RopeScaling = {
      type: "llama3",
      ...{ factor, originalContext, lowFreqFactor: 1, highFreqFactor: 4 },
    };
    if (divisorsOf({ ...config, ropeScaling: rule })?.join() === factors.join()) return rule;
  }
  return table(factors, config);
}

/** `rope_scaling` as config.json has it; undefined: none. */
export function hfRopeScaling(scaling: RopeScaling | null): Record<string, unknown> | undefined {
  switch (scaling?.type) {
    case undefined:
      return undefined;
    case "linear":
      return { rope_type: "linear", factor: shortest(scaling.factor) };
    case "dynamic":
      return {
        ...{ rope_type: "dynamic", factor: shortest(scaling.factor) },
        original_max_position_embeddings: scaling.originalContext,
      };
    case "yarn":
      return {
        ...{ rope_type: "yarn", factor: shortest(scaling.factor) },
        original_max_position_embeddings: scaling.originalContext,
        beta_fast: shortest(scaling.betaFast),
        beta_slow: shortest(scaling.betaSlow),
        ...(scaling.attentionFactor === null ? {} : { attention_factor: shortest(scaling.attentionFactor) }),
      };
    case "llama3":
      return {
        ...{ rope_type: "llama3", factor: shortest(scaling.factor) },
        low_freq_factor: shortest(scaling.lowFreqFactor),
        high_freq_factor: shortest(scaling.highFreqFactor),
        original_max_position_embeddings: scaling.originalContext,
      };
    case "longrope":
      return {
        rope_type: "longrope",
        short_factor: scaling.shortFactors,
        long_factor: scaling.longFactors,
        attention_factor: shortest(scaling.attentionFactor),
        original_max_position_embeddings: scaling.originalContext,
      };
  }
}
