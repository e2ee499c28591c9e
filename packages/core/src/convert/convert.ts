/**
 * Converts an opened model into another format, as a stream: nothing is written here, and no more than one ternary tensor and a few slices
 * are in memory at a time. Trits and scales are those that running the model would use.
 */
import { BitNetError } from "../base/errors.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import { isGroupPacking } from "../packing/registry.ts";
import type { ConversionOptions, PlannedConversion } from "./conversion.ts";
import { divisorsName, roundsRotations as roundsRotationsOf, ruleOfDivisors } from "./rope-facts.ts";
import { type ConversionSource, describeSource } from "./source.ts";
import { type ConversionTarget, isGgufTarget } from "./targets.ts";
import { toGguf } from "./to-gguf.ts";
import { toHf } from "./to-hf.ts";

/** A GGUF file's table of divisors becomes a rule, which is what a folder can say. */
async function withRopeRule(source: ConversionSource): Promise<ConversionSource> {
  const { config, weights } = source;
  const divisors = weights.find(({ ggufName }) => ggufName === divisorsName);
  if (config === null || divisors === undefined) return source;
  const ropeScaling = await ruleOfDivisors(config, divisors.tensor);
  return {
    ...source,
    config: { ...config, ropeScaling },
    weights: weights.filter((weight) => weight !== divisors),
  };
}

/**
 * @param name The source's, for messages.
 * @throws BitNetError MODEL_UNSUPPORTED, MODEL_INVALID, FORMAT_UNSUPPORTED when the target cannot hold the model; while streaming also
 * FORMAT_INVALID, FORMAT_TRUNCATED, IO_FAILED, NUMERIC_FAILURE, ABORTED.
 */
export async function planConversion(
  files: ModelFiles,
  name: string,
  target: ConversionTarget,
  options: ConversionOptions = {},
): Promise<PlannedConversion> {
  const source = describeSource(files, name, options);
  if (!source.weights.some(({ kind }) => kind === "ternary"))
    throw new BitNetError("MODEL_UNSUPPORTED", `${name}: holds no ternary weights that could be converted`);
  const isGguf = isGgufTarget(target);
  const described = isGguf ? source : await withRopeRule(source);
  const plan = await (isGguf ? toGguf(described, target, options) : toHf(described, target, options));
  const isGrouped = isGgufTarget(target) && isGroupPacking(target);
  const wasGrouped = source.config === null ? isGrouped : source.config.activationGroup !== null;
  const changesRule = described !== source || (isGguf && files.kind === "hf");
  const roundsRotations = changesRule && described.config !== null && roundsRotationsOf(described.config);
  return { ...plan, roundsRotations, changesActivations: isGrouped !== wasGrouped };
}
