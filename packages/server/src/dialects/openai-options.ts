/** Sampling parameters as OpenAI, llama-server and vLLM name them, as options of the library. */
import type { GenerateOptions } from "bitnet.ts";
import { invalid, ServeError } from "../errors.ts";
import type { Fields } from "../fields.ts";

/** Parameters of other servers that would change the answer, and are not here: refused rather than ignored. */
const refused: readonly string[] = [
  "chat_template",
  "grammar",
  "guided_grammar",
  "best_of_seed",
  "mirostat",
  "mirostat_tau",
  "mirostat_eta",
  "dynatemp_range",
  "top_n_sigma",
  "length_penalty",
  "use_beam_search",
  "lora",
];

/** Values at which such a parameter does nothing. */
function isOff(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return value === 0 || value === false || value === "" || value === -1 || value === "none";
}

export function refuseForeign(body: Fields): void {
  refuse(body, refused);
}

/** @throws ServeError INVALID_INPUT for a parameter of these names that would do something. */
export function refuse(body: Fields, names: readonly string[]): void {
  for (const name of names) {
    const value = body.raw(name);
    if (value === undefined || isOff(value) || (name === "length_penalty" && value === 1)) continue;
    throw new ServeError("INVALID_INPUT", `${body.path(name)}: this parameter is not supported here`, {
      param: body.path(name),
    });
  }
}

export function readSampling(body: Fields): GenerateOptions {
  refuseForeign(body);
  const frequencyPenalty = body.number("frequency_penalty", { min: -2, max: 2 });
  const presencePenalty = body.number("presence_penalty", { min: -2, max: 2 });
  // OpenAI's penalties look at the whole text, llama-server's at a window.
  const isWhole = (frequencyPenalty ?? 0) !== 0 || (presencePenalty ?? 0) !== 0;
  return defined({
    temperature: body.number("temperature", { min: 0, max: 100 }),
    topP: positiveShare(body, "top_p"),
    topK: readTopK(body),
    minP: body.number("min_p", { min: 0, max: 1 }),
    typicalP: positiveShare(body, "typical_p"),
    repeatPenalty:
      body.number("repeat_penalty", { min: 0.01, max: 100 }) ??
      body.number("repetition_penalty", { min: 0.01, max: 100 }),
    repeatLastN: body.integer("repeat_last_n", { min: -1, max: 2 ** 31 }) ?? (isWhole ? -1 : undefined),
    frequencyPenalty,
    presencePenalty,
    dryMultiplier: body.number("dry_multiplier", { min: 0, max: 1000 }),
    dryBase: body.number("dry_base", { min: 1, max: 1000 }),
    dryAllowedLength: body.integer("dry_allowed_length", { min: 0, max: 2 ** 31 }),
    dryPenaltyLastN: body.integer("dry_penalty_last_n", { min: -1, max: 2 ** 31 }),
    drySequenceBreakers: body.strings("dry_sequence_breakers", 16, 40)?.filter((text) => text !== ""),
    xtcProbability: body.number("xtc_probability", { min: 0, max: 1 }),
    xtcThreshold: body.number("xtc_threshold", { min: 0, max: 1 }),
    logitBias: readBias(body),
    seed: readSeed(body),
    stop: readStop(body, "stop"),
    stopTokens: readIds(body, "stop_token_ids"),
    ignoreEos: body.boolean("ignore_eos"),
  });
}

/** The dialects allow top_p 0, which means the best token alone. */
export function positiveShare(body: Fields, name: string): number | undefined {
  const value = body.number(name, { min: 0, max: 1 });
  return value === 0 ? 1e-9 : value;
}

/** Clients send −1 for "all". */
export function readTopK(body: Fields): number | undefined {
  const k = body.integer("top_k", { min: -1, max: 1_000_000 });
  return k === -1 ? 0 : k;
}

/** Any integer as an unsigned 32-bit seed, equal seeds staying equal; −1 is none. Clients send the time in milliseconds, too. */
export function readSeed(body: Fields): number | undefined {
  const seed = body.integer("seed", { min: -(2 ** 53) + 1, max: 2 ** 53 - 1 });
  if (seed === undefined || seed === -1) return undefined;
  const high = Math.floor(seed / 2 ** 32);
  return (seed ^ Math.imul(high, 0x9e3779b1)) >>> 0;
}

/** Editors send the stop texts of several templates and languages at once; the library takes as many. */
export function readStop(body: Fields, name: string): string[] | undefined {
  return body.strings(name, 64, 1024)?.filter((text) => text !== "");
}

/** Tokens of an answer; −1 is as many as there is room for, as llama-server and those who talk to it have it. */
export function readAnswerTokens(body: Fields, name: string): number | undefined {
  const wanted = body.integer(name, { min: -1 });
  return wanted === -1 ? Number.MAX_SAFE_INTEGER : wanted;
}

function readIds(body: Fields, name: string): number[] | undefined {
  const list = body.list(name, 64);
  if (list !== undefined && !list.every((id) => Number.isSafeInteger(id) && (id as number) >= 0))
    throw invalid(body.path(name), "a list of token ids");
  return list as number[] | undefined;
}

/** OpenAI's object, or llama-server's list of pairs. */
function readBias(body: Fields): ReadonlyMap<number, number> | undefined {
  const value = body.raw("logit_bias");
  if (value === undefined) return undefined;
  const path = body.path("logit_bias");
  const expected = "an object of at most 1024 token ids with numbers from -100 to 100";
  if (typeof value !== "object" || value === null) throw invalid(path, expected);
  const entries: unknown[] = Array.isArray(value) ? value : Object.entries(value);
  if (entries.length > 1024) throw invalid(path, expected);
  const biases = new Map<number, number>();
  for (const entry of entries) {
    const [key, bias] = Array.isArray(entry) ? (entry as [unknown, unknown]) : [null, null];
    const id = typeof key === "string" && /^\d{1,9}$/.test(key) ? Number(key) : key;
    if (!Number.isSafeInteger(id)) throw invalid(path, expected);
    if (bias === false) biases.set(id as number, Number.NEGATIVE_INFINITY);
    else if (typeof bias === "number" && bias >= -100 && bias <= 100) biases.set(id as number, bias);
    else throw invalid(`${path}.${String(id)}`, "a number from -100 to 100");
  }
  return biases;
}

/** Without the properties that are undefined. */
export function defined(
  options: { [K in keyof GenerateOptions]: GenerateOptions[K] | undefined },
): GenerateOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
