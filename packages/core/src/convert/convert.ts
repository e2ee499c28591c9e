/**
 * Converts an opened model into another format, as a stream: nothing is written here, and no more than one ternary tensor and a few slices
 * are in memory at a time. Trits and scales are those that running the model would use.
 */
import { BitNetError } from "../base/errors.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import { isGroupPacking } from "../packing/registry.ts";
import type { ConversionOptions, PlannedConversion } from "./conversion.ts";
import { describeSource } from "./source.ts";
import { type ConversionTarget, isGgufTarget } from "./targets.ts";
import { toGguf } from "./to-gguf.ts";
import { toHf } from "./to-hf.ts";

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
  const plan = await (isGgufTarget(target) ? toGguf(source, target, options) : toHf(source, target, options));
  const isGrouped = isGgufTarget(target) && isGroupPacking(target);
  const wasGrouped = source.config === null ? isGrouped : source.config.activationGroup !== null;
  return { ...plan, changesActivations: isGrouped !== wasGrouped };
}
