/**
 * How rotations are stretched, in the words of the other kind of file: `rope_scaling` of config.json, and of GGUF files the divisors in
 * tensors that stand for rules which metadata cannot say (llama.cpp's converter computes the same ones).
 */
import { BitNetError } from "../base/errors.ts";
import type { ModelConfig } from "../model/model-config.ts";
import { type RopeScaling, ropeFrequencies } from "../model/rope-scaling.ts";
import { type RopeTensors, ropeTensorNames, withRopeTensors } from "../model/rope-tensors.ts";
import { shortest } from "./shortest.ts";

/** What the frequencies of a model depend on. */
type Rotation = Pick<ModelConfig, "headDim" | "ropeTheta" | "ropeScaling" | "contextLength">;

/**
 * By GGUF name: f32 [headDim / 2], by which frequencies are divided in place of the configuration's rule. Empty where metadata says the rule.
 * @throws BitNetError FORMAT_UNSUPPORTED for a rule that gives other frequencies for every context.
 */
export function divisorTensors(config: Rotation): Map<string, Float32Array> {
  const { ropeScaling: scaling } = config;
  const isMetadata = scaling === null || scaling.type === "linear" || scaling.type === "yarn";
  if (isMetadata || scaling.type === "longrope-tensors" || isIdle(config)) return new Map();
  if (scaling.type === "dynamic")
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `rotations are stretched by the rule "${scaling.type}", otherwise beyond ${scaling.originalContext} of the context's ${config.contextLength} positions; ` +
        "a GGUF file holds no such rule",
      { details: { type: scaling.type } },
    );
  const named = (name: keyof typeof ropeTensorNames, rotation: Rotation) =>
    [`${ropeTensorNames[name]}.weight`, divisorsFor(rotation)] as const;
  if (scaling.type === "llama3" || isOneList(scaling)) return new Map([named("all", config)]);
  const { originalContext } = scaling;
  return new Map([
    named("long", { ...config, contextLength: originalContext + 1 }),
    named("short", { ...config, contextLength: originalContext }),
  ]);
}

function divisorsFor(config: Rotation): Float32Array {
  const plain = frequenciesOf({ ...config, ropeScaling: null });
  return Float32Array.from(frequenciesOf(config), (frequency, i) =>
    divisorBetween(config, i, plain[i] ?? 1, frequency),
  );
}

/** What GGUF metadata says of the rule: of one that stands in tensors, the rest. */
export function metadataScaling(config: Rotation): RopeScaling | null {
  const { ropeScaling: scaling } = config;
  if (isIdle(config) || scaling?.type === "llama3") return null;
  if (scaling?.type !== "longrope") return scaling;
  const { originalContext, attentionFactor } = scaling;
  return isOneList(scaling) ? null : { type: "longrope-tensors", originalContext, attentionFactor };
}

/** A rule that changes nothing within the model's context. */
function isIdle({ ropeScaling: scaling, contextLength }: Rotation): boolean {
  return scaling?.type === "dynamic" && contextLength <= scaling.originalContext;
}

function isOneList({
  shortFactors,
  longFactors,
  attentionFactor,
}: RopeScaling & { type: "longrope" }): boolean {
  return `${shortFactors}` === `${longFactors}` && attentionFactor === 1;
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
  const { ropeScaling: scaling } = config;
  const edge = scaling?.type === "longrope" ? scaling.originalContext : config.contextLength;
  for (const [name, divisors] of divisorTensors(config)) {
    const contextLength = name.startsWith(ropeTensorNames.long) ? edge + 1 : edge;
    const rotation = { ...config, contextLength };
    const list = table(Array.from(divisors), rotation);
    if (frequenciesOf({ ...rotation, ropeScaling: list }).join() !== frequenciesOf(rotation).join())
      return true;
  }
  return false;
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
 * The configuration's rule for the divisors of a GGUF file: LongRoPE's two lists; Llama 3's rule where one list is exactly its divisors with its
 * usual bounds, and else the list itself, which `longrope` is when contexts of all lengths have the same.
 * @param read The values of a tensor by its name without ".weight".
 */
export async function ruleOfDivisors(
  config: ModelConfig,
  tensors: RopeTensors,
  read: (name: string) => Promise<readonly number[]>,
): Promise<RopeScaling | null> {
  const { scaling } = await withRopeTensors(
    { ...config, theta: config.ropeTheta, scaling: null },
    tensors,
    read,
  );
  if (tensors.kind === "by-context" || scaling?.type !== "longrope") return scaling;
  const factors = scaling.longFactors;
  const factor = Math.max(...factors);
  for (const originalContext of trainingContexts) {
    if (!(factor > 1)) break;
    const rule: RopeScaling = {
      type: "llama3",
      ...{ factor, originalContext, lowFreqFactor: 1, highFreqFactor: 4 },
    };
    if (divisorsFor({ ...config, ropeScaling: rule }).join() === factors.join()) return rule;
  }
  return scaling;
}

/** `rope_scaling` as config.json has it; undefined: none. */
export function hfRopeScaling(scaling: RopeScaling | null): Record<string, unknown> | undefined {
  switch (scaling?.type) {
    case undefined:
    case "longrope-tensors": // ruleOfDivisors has made lists of them
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
