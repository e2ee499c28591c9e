/** Reads how rotations are scaled, under the names of either kind of file. Knows no architecture. */
import { log64 } from "../base/elementary64.ts";
import { FieldReader, limits, show, thetaRange } from "./config-fields.ts";
import type { RopeScaling } from "./rope-scaling.ts";

const factorRange = {
  isValid: (factor: number) => factor >= 1 && factor < 1e6,
  text: "a number from 1 to 10^6",
};
const positive = {
  isValid: (value: number) => value > 0 && Number.isFinite(value),
  text: "a positive number",
};

export interface Rope {
  theta: number;
  scaling: RopeScaling | null;
}

/** θ stands in the configuration itself or, in newer ones, in `rope_parameters`, which took over from `rope_scaling`. */
export function readHfRope(json: Record<string, unknown>, usualTheta: number, problems: string[]): Rope {
  const { rope_scaling: scaling } = json;
  const { parameters, name: place } = parametersOf(json);
  checkWholeRotation(json, "", problems);
  const outer = new FieldReader((name) => json[name] ?? undefined, undefined, problems);
  const found: RopeScaling[] = [];
  const read = (fields: Record<string, unknown>, name: string) => {
    const read = readHfScaling(fields, name, json, problems);
    if (read !== null) found.push(read);
  };
  if (isRecord(scaling)) read(scaling, "rope_scaling");
  else if (scaling ?? false) problems.push(`rope_scaling is ${show(scaling)}, expected an object`);
  if ((parameters ?? null) === null)
    return { theta: outer.number("rope_theta", thetaRange, usualTheta), scaling: found[0] ?? null };
  if (!isRecord(parameters)) {
    problems.push(`${place} is ${show(parameters)}, expected an object`);
    return { theta: Number.NaN, scaling: null };
  }
  read(parameters, place);
  const inner = readerOf(parameters, place, problems);
  const older = outer.number("rope_theta", thetaRange, Number.NaN);
  const theta = inner.number("rope_theta", thetaRange, Number.isNaN(older) ? undefined : older);
  if (Math.abs(theta - older) > 0)
    problems.push(`rope_theta is ${older}, but ${place}.rope_theta is ${theta}`);
  return { theta, scaling: found[0] ?? null };
}

/** Models with two kinds of layers have parameters of each kind; these are those of layers that see everything. */
function parametersOf(json: Record<string, unknown>): { parameters: unknown; name: string } {
  const { rope_parameters: parameters } = json;
  return isRecord(parameters) && "full_attention" in parameters && "sliding_attention" in parameters
    ? { parameters: parameters.full_attention, name: "rope_parameters.full_attention" }
    : { parameters, name: "rope_parameters" };
}

/** θ of layers with a window, where it is kept per kind of layer. */
export function readSlidingTheta(parameters: unknown, usual: number, problems: string[]): number {
  const sliding = isRecord(parameters) ? parameters.sliding_attention : undefined;
  if (!isRecord(sliding)) return usual;
  const reader = readerOf(sliding, "rope_parameters.sliding_attention", problems);
  const type = sliding.rope_type ?? "default";
  if (type !== "default")
    problems.push(`rope_parameters.sliding_attention of type ${show(type)} is not supported`);
  return reader.number("rope_theta", thetaRange, usual);
}

function readHfScaling(
  fields: Record<string, unknown>,
  name: string,
  json: Record<string, unknown>,
  problems: string[],
): RopeScaling | null {
  checkWholeRotation(fields, `${name}.`, problems);
  const reader = readerOf(fields, name, problems);
  const context = new FieldReader((field) => json[field] ?? undefined, undefined, problems);
  const type = fields.rope_type ?? fields.type ?? "default";
  const factor = () => reader.number("factor", factorRange);
  const originalContext = () =>
    fields.original_max_position_embeddings === undefined
      ? context.integer("max_position_embeddings", limits.contextLength)
      : reader.integer("original_max_position_embeddings", limits.contextLength);
  switch (type) {
    case "default":
      if ((fields.factor ?? 1) !== 1) problems.push(`${name}.factor ${show(fields.factor)} is not supported`);
      return null;
    case "linear":
      return { type: "linear", factor: factor() };
    case "dynamic":
      return { type: "dynamic", factor: factor(), originalContext: originalContext() };
    case "yarn":
      return {
        type: "yarn",
        factor: factor(),
        originalContext: originalContext(),
        betaFast: reader.number("beta_fast", positive, 32),
        betaSlow: reader.number("beta_slow", positive, 1),
        attentionFactor: yarnAttentionFactor(fields, reader),
      };
    case "llama3":
      return {
        type: "llama3",
        factor: factor(),
        originalContext: reader.integer("original_max_position_embeddings", limits.contextLength),
        lowFreqFactor: reader.number("low_freq_factor", positive),
        highFreqFactor: reader.number("high_freq_factor", positive),
      };
    case "longrope":
      return readLongRope(fields, { name, json, reader, originalContext: originalContext() });
    default:
      problems.push(`${name} of type ${show(type)} is not supported`);
      return null;
  }
}

/** As given, or from `mscale` and `mscale_all_dim` as DeepSeek's configurations have them. */
function yarnAttentionFactor(fields: Record<string, unknown>, reader: FieldReader): number | null {
  if ((fields.attention_factor ?? null) !== null) return reader.number("attention_factor", positive);
  for (const name of ["mscale", "mscale_all_dim"])
    if ((fields[name] ?? null) !== null) reader.problems.push(`rope scaling with ${name} is not supported`);
  if (fields.truncate === false) reader.problems.push("rope scaling with truncate false is not supported");
  return null;
}

function readLongRope(
  fields: Record<string, unknown>,
  of: { name: string; json: Record<string, unknown>; reader: FieldReader; originalContext: number },
): RopeScaling {
  const { reader, name } = of;
  const factors = (field: string): number[] => {
    const value = fields[field];
    const isList = Array.isArray(value) && value.every((entry) => typeof entry === "number" && entry > 0);
    if (!isList || value.length > limits.headDim) {
      reader.problems.push(`${name}.${field} is ${show(value)}, expected a list of positive numbers`);
      return [];
    }
    return value;
  };
  const longest = Number(of.json.max_position_embeddings);
  const growth = Math.max(1, longest / of.originalContext);
  const usual = growth <= 1 ? 1 : Math.sqrt(1 + Math.log(growth) / Math.log(of.originalContext));
  return {
    type: "longrope",
    originalContext: of.originalContext,
    shortFactors: factors("short_factor"),
    longFactors: factors("long_factor"),
    attentionFactor: reader.number("attention_factor", positive, Math.fround(usual)),
  };
}

/**
 * Converters also write "linear" with a factor of 1, which scales nothing. A factor without a type means "linear".
 * @param key Full name of a key.
 */
export function readGgufRopeScaling(
  find: (key: string) => unknown,
  key: (name: string) => string,
  problems: string[],
): RopeScaling | null {
  const reader = new FieldReader((name) => find(key(name)), key, problems);
  const type = find(key("rope.scaling.type")) ?? "linear";
  if (type === "none") return null;
  const attentionFactor = reader.number("rope.scaling.attn_factor", positive, 1);
  if (type === "longrope") {
    const context = reader.integer("context_length", limits.contextLength);
    const originalContext = reader.integer(
      "rope.scaling.original_context_length",
      limits.contextLength,
      context,
    );
    return { type: "longrope-tensors", originalContext, attentionFactor };
  }
  if (type !== "linear" && type !== "yarn") {
    problems.push(`${key("rope.scaling.type")} ${show(type)} is not supported`);
    return null;
  }
  const multiplier = find(key("rope.scaling.yarn_log_multiplier")) ?? 0;
  if (multiplier !== 0)
    problems.push(`${key("rope.scaling.yarn_log_multiplier")} ${show(multiplier)} is not supported`);
  if (type === "linear" && attentionFactor !== 1)
    problems.push(
      `${key("rope.scaling.attn_factor")} ${attentionFactor} is not supported beside linear scaling`,
    );
  const name = find(key("rope.scaling.factor")) === undefined ? "rope.scale_linear" : "rope.scaling.factor";
  const value = find(key(name)) ?? 1;
  if (type === "linear" && (value === 1 || value === 0)) return null;
  const factor = reader.number(name, factorRange);
  if (type === "linear") return { type, factor };
  return {
    type,
    factor,
    originalContext: reader.integer("rope.scaling.original_context_length", limits.contextLength),
    betaFast: reader.number("rope.scaling.yarn_beta_fast", positive, 32),
    betaSlow: reader.number("rope.scaling.yarn_beta_slow", positive, 1),
    // In GGUF files it multiplies the usual one.
    attentionFactor: attentionFactor === 1 ? null : attentionFactor * (0.1 * log64(factor) + 1),
  };
}

function readerOf(fields: Record<string, unknown>, name: string, problems: string[]): FieldReader {
  return new FieldReader(
    (field) => fields[field] ?? undefined,
    (field) => `${name}.${field}`,
    problems,
  );
}

function checkWholeRotation(fields: Record<string, unknown>, prefix: string, problems: string[]): void {
  const factor = fields.partial_rotary_factor ?? 1;
  if (factor !== 1) problems.push(`${prefix}partial_rotary_factor ${show(factor)} is not supported`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
