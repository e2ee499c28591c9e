/**
 * Converts an opened model into another format, as a stream: nothing is written here, and no more than one ternary tensor and a few slices
 * are in memory at a time. Trits and scales are those that running the model would use.
 */
import { BitNetError } from "../base/errors.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import { familyOf } from "../model/families.ts";
import { isRopeTensor, readDivisors, ropeTensorsOf } from "../model/rope-tensors.ts";
import { isGroupPacking } from "../packing/registry.ts";
import type { ConversionOptions, PlannedConversion } from "./conversion.ts";
import { readingAhead } from "./read-ahead.ts";
import { roundsRotations as roundsRotationsOf, ruleOfDivisors } from "./rope-facts.ts";
import { type ConversionSource, describeSource, type SourceWeight } from "./source.ts";
import { type ConversionTarget, isGgufTarget } from "./targets.ts";
import { toGguf } from "./to-gguf.ts";
import { toHf } from "./to-hf.ts";

/** A GGUF file's divisors of rotations become a rule, which is what a folder can say. */
async function withRopeRule(source: ConversionSource): Promise<ConversionSource> {
  const { config, weights, files } = source;
  if (config === null || files.kind === "hf") return source;
  const named = (name: string) => weights.find(({ ggufName }) => ggufName === `${name}.weight`);
  const tensors = ropeTensorsOf(config.ropeScaling, (name) => named(name) !== undefined);
  if (tensors === null) return source;
  const cols = config.headDim / 2;
  const ropeScaling = await ruleOfDivisors(config, tensors, (name) =>
    divisorsIn(named(name), `${name}.weight`, cols),
  );
  const rest = weights.filter(({ ggufName }) => !isRopeTensor(ggufName));
  return { ...source, config: { ...config, ropeScaling }, weights: rest };
}

async function divisorsIn(weight: SourceWeight | undefined, name: string, cols: number): Promise<number[]> {
  if (weight === undefined || weight.rows !== 1 || weight.cols !== cols)
    throw new BitNetError("MODEL_INVALID", `tensor "${name}": expected ${cols} divisors of rotations`);
  return readDivisors(weight.tensor);
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
  const ternary = described.weights.filter(({ kind }) => kind === "ternary");
  const ahead = {
    ...described,
    weightFiles: readingAhead(
      described.weightFiles,
      ternary.map(({ tensor }) => tensor),
    ),
  };
  const plan = await (isGguf ? toGguf(ahead, target, options) : toHf(ahead, target, options));
  const isWeightOnly = source.config !== null && familyOf(source.config).isWeightOnly;
  const isGrouped = isWeightOnly || (isGgufTarget(target) && isGroupPacking(target));
  const wasGrouped = source.config === null ? isGrouped : source.config.activationGroup !== null;
  const changesRule = described !== source || (isGguf && files.kind === "hf");
  const roundsRotations = changesRule && described.config !== null && roundsRotationsOf(described.config);
  return { ...plan, roundsRotations, changesActivations: isGrouped !== wasGrouped };
}
