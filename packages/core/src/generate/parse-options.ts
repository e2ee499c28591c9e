/**
 * The check at the border that turns the options that a caller wrote into settings that the rest of this folder trusts. The order in which
 * the samplers act is in docs/numerics.md.
 */
import { BitNetError } from "../base/errors.ts";
import { ProblemList, showName, showValue } from "../base/show-value.ts";
import { suggestion } from "../base/suggestion.ts";
import type { TokenMask } from "./mask.ts";
import type { GenerateOptions, GenerateSettings } from "./options.ts";
import type { ThinkingMarks } from "./thinking.ts";

/** Below this, dividing ordinary logits would leave f32; the choice is greedy long before. */
const lowestTemperature = 2 ** -20;
const maxLogprobs = 256;
const maxStops = 64;
const maxStopLength = 1024;
const maxBreakers = 16;
/** As in llama.cpp, which cuts longer ones. */
const maxBreakerLength = 40;
const usualBreakers = ["\n", ":", '"', "*"];

const known: Readonly<Record<keyof GenerateOptions, true>> = {
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  typicalP: true,
  repeatPenalty: true,
  repeatLastN: true,
  frequencyPenalty: true,
  presencePenalty: true,
  dryMultiplier: true,
  dryBase: true,
  dryAllowedLength: true,
  dryPenaltyLastN: true,
  drySequenceBreakers: true,
  xtcProbability: true,
  xtcThreshold: true,
  logitBias: true,
  seed: true,
  choice: true,
  maxTokens: true,
  stop: true,
  stopTokens: true,
  ignoreEos: true,
  logprobs: true,
  promptLogprobs: true,
  promptLogprobsFrom: true,
  special: true,
  thinking: true,
  thinkingBudget: true,
  mask: true,
  cacheSalt: true,
  background: true,
  adapter: true,
  onPrompt: true,
  signal: true,
};

/** @throws BitNetError INVALID_ARGUMENT that lists the problems (the first of many), also in `details.problems`. */
export function parseGenerateOptions(options: unknown, vocabSize: number): GenerateSettings {
  const read = new OptionReader(options, vocabSize);
  const temperature = read.f32("temperature", 0.7, "a number from 0 up", (x) => x >= 0);
  const settings: GenerateSettings = {
    sampling: {
      temperature: temperature < lowestTemperature ? 0 : temperature,
      topK: read.integer("topK", 0, 0, Number.MAX_SAFE_INTEGER),
      topP: read.number("topP", 0.9, "a number in (0, 1]", (x) => x > 0 && x <= 1),
      minP: read.number("minP", 0, "a number in [0, 1]", (x) => x >= 0 && x <= 1),
      typicalP: read.number("typicalP", 1, "a number in (0, 1]", (x) => x > 0 && x <= 1),
      repeatPenalty: read.f32("repeatPenalty", 1.05, "a positive number", (x) => x > 0),
      repeatLastN: read.integer("repeatLastN", 64, -1, Number.MAX_SAFE_INTEGER),
      frequencyPenalty: read.f32("frequencyPenalty", 0, "a number", () => true),
      presencePenalty: read.f32("presencePenalty", 0, "a number", () => true),
      dryMultiplier: read.f32("dryMultiplier", 0, "a number from 0 up", (x) => x >= 0),
      dryBase: read.f32("dryBase", 1.75, "a number from 1 up", (x) => x >= 1),
      dryAllowedLength: read.integer("dryAllowedLength", 2, 0, Number.MAX_SAFE_INTEGER),
      dryPenaltyLastN: read.integer("dryPenaltyLastN", -1, -1, Number.MAX_SAFE_INTEGER),
      drySequenceBreakers: read.breakers(),
      xtcProbability: read.number("xtcProbability", 0, "a number in [0, 1]", (x) => x >= 0 && x <= 1),
      xtcThreshold: read.number("xtcThreshold", 0.1, "a number in [0, 1]", (x) => x >= 0 && x <= 1),
      logitBias: read.bias(),
      seed: read.integer("seed", -1, 0, 2 ** 32 - 1),
      choice: read.integer("choice", 0, 0, 2 ** 32 - 1),
    },
    maxTokens: read.integer("maxTokens", 256, 0, Number.MAX_SAFE_INTEGER),
    stop: read.stop(),
    stopTokens: read.ids("stopTokens"),
    ignoreEos: read.flag("ignoreEos"),
    logprobs: read.optionalCount("logprobs"),
    promptLogprobs: read.optionalCount("promptLogprobs"),
    promptLogprobsFrom: read.integer("promptLogprobsFrom", 1, 1, Number.MAX_SAFE_INTEGER),
    special: read.flag("special"),
    thinking: read.thinking(),
    thinkingBudget: read.budget(),
    mask: read.mask(),
    cacheSalt: read.salt(),
    background: read.flag("background"),
    adapter: read.adapter(),
    onPrompt: read.onPrompt(),
    signal: read.signal(),
  };
  read.finish();
  if (settings.sampling.seed < 0) settings.sampling.seed = randomSeed();
  return settings;
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

/** Reads options one by one and collects what is wrong with them. A faulty option reads as its default. */
class OptionReader {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #vocabSize: number;
  readonly #problems = new ProblemList();

  constructor(options: unknown, vocabSize: number) {
    this.#vocabSize = vocabSize;
    const isObject = typeof options === "object" && options !== null;
    this.#values = isObject ? (options as Record<string, unknown>) : {};
    if (!isObject && options !== undefined)
      this.#problems.add(`options: expected an object, found ${showValue(options)}`);
    for (const name of Object.keys(this.#values))
      if (!Object.hasOwn(known, name))
        this.#problems.add(
          () => `${showName(name)}: no such option${suggestion(name.slice(0, 100), Object.keys(known))}`,
        );
  }

  finish(): void {
    if (this.#problems.count === 0) return;
    const problems = this.#problems.listed;
    throw new BitNetError("INVALID_ARGUMENT", `generate: ${problems.join("; ")}`, { details: { problems } });
  }

  number(
    name: keyof GenerateOptions,
    byDefault: number,
    expected: string,
    isValid: (x: number) => boolean,
  ): number {
    const value = this.#values[name];
    if (value === undefined) return byDefault;
    if (typeof value === "number" && Number.isFinite(value) && isValid(value)) return value;
    return this.#reject(name, expected, value, byDefault);
  }

  /** A number that stays finite and valid as f32. */
  f32(
    name: keyof GenerateOptions,
    byDefault: number,
    expected: string,
    isValid: (x: number) => boolean,
  ): number {
    const isValidF32 = (x: number) => Number.isFinite(Math.fround(x)) && isValid(Math.fround(x));
    return Math.fround(this.number(name, byDefault, `${expected} within the range of f32`, isValidF32));
  }

  integer(name: keyof GenerateOptions, byDefault: number, lowest: number, highest: number): number {
    const value = this.#values[name];
    if (value === undefined) return byDefault;
    if (Number.isSafeInteger(value) && (value as number) >= lowest && (value as number) <= highest)
      return value as number;
    const range = highest === Number.MAX_SAFE_INTEGER ? `from ${lowest} up` : `in ${lowest}…${highest}`;
    return this.#reject(name, `an integer ${range}`, value, byDefault);
  }

  optionalCount(name: "logprobs" | "promptLogprobs"): number | null {
    return this.#values[name] === undefined ? null : this.integer(name, 0, 0, maxLogprobs);
  }

  flag(name: keyof GenerateOptions): boolean {
    const value = this.#values[name];
    if (value === undefined || typeof value === "boolean") return value === true;
    return this.#reject(name, "true or false", value, false);
  }

  ids(name: "stopTokens"): ReadonlySet<number> {
    const value = this.#values[name];
    if (value === undefined) return new Set();
    const expected = `an array of token ids in 0…${this.#vocabSize - 1}`;
    if (!Array.isArray(value)) return this.#reject(name, expected, value, new Set<number>());
    const ids = value.filter((id: unknown) => this.#isId(id));
    if (ids.length < value.length) {
      const wrong = value.findIndex((id: unknown) => !this.#isId(id));
      this.#reject(`${name}[${wrong}]`, expected, value[wrong], undefined);
    }
    return new Set(ids);
  }

  stop(): readonly string[] {
    const value = this.#values.stop;
    if (value === undefined) return [];
    const stops: unknown[] = Array.isArray(value) ? value : [value];
    const expected = `at most ${maxStops} texts of 1…${maxStopLength} characters`;
    if (stops.length > maxStops) return this.#reject("stop", expected, `${stops.length} of them`, []);
    const texts: string[] = [];
    for (const text of stops) {
      if (typeof text === "string" && text.length > 0 && text.length <= maxStopLength) texts.push(text);
      else this.#reject("stop", expected, text, undefined);
    }
    return texts;
  }

  breakers(): readonly string[] {
    const value = this.#values.drySequenceBreakers;
    if (value === undefined) return usualBreakers;
    const expected = `at most ${maxBreakers} texts of 1…${maxBreakerLength} characters`;
    const isGood =
      Array.isArray(value) &&
      value.length <= maxBreakers &&
      value.every((text) => typeof text === "string" && text.length > 0 && text.length <= maxBreakerLength);
    return isGood ? (value as string[]) : this.#reject("drySequenceBreakers", expected, value, usualBreakers);
  }

  /** Biases other than 0, as f32. */
  bias(): ReadonlyMap<number, number> {
    const value = this.#values.logitBias;
    const biases = new Map<number, number>();
    if (value === undefined) return biases;
    const expected = "a Map or an object from token ids to numbers";
    if (typeof value !== "object" || value === null || Array.isArray(value))
      return this.#reject("logitBias", expected, value, biases);
    const entries: [unknown, unknown][] =
      value instanceof Map ? [...value] : Object.entries(value).map(([key, bias]) => [idOf(key), bias]);
    for (const [id, bias] of entries) {
      if (!this.#isId(id)) this.#reject("logitBias", `ids in 0…${this.#vocabSize - 1}`, id, undefined);
      else if (!isBias(bias))
        this.#reject(`logitBias[${id}]`, "a finite number or −Infinity", bias, undefined);
      else if (bias !== 0) biases.set(id, Math.fround(bias));
    }
    return biases;
  }

  thinking(): ThinkingMarks | null {
    const value = this.#values.thinking ?? null;
    if (value === null) return null;
    const { open, close, closeIds, openId, isOpen } = value as Partial<ThinkingMarks>;
    const areTexts = [open, close].every(
      (mark) => typeof mark === "string" && mark.length > 0 && mark.length <= 64,
    );
    const areIds = Array.isArray(closeIds) && closeIds.length > 0 && closeIds.every((id) => this.#isId(id));
    if (areTexts && areIds && (openId === null || this.#isId(openId)) && typeof isOpen === "boolean")
      return value as ThinkingMarks;
    return this.#reject("thinking", "the marks that encodeChat gives", value, null);
  }

  budget(): number | null {
    if (this.#values.thinkingBudget === undefined) return null;
    if ((this.#values.thinking ?? null) === null)
      this.#reject("thinkingBudget", "no budget without `thinking`", this.#values.thinkingBudget, undefined);
    return this.integer("thinkingBudget", 0, 0, Number.MAX_SAFE_INTEGER);
  }

  mask(): TokenMask | null {
    const value = this.#values.mask as Partial<TokenMask> | undefined;
    if (value === undefined) return null;
    const isMask = typeof value?.allowed === "function" && typeof value.accept === "function";
    return isMask ? (value as TokenMask) : this.#reject("mask", "a TokenMask", value, null);
  }

  salt(): string {
    const value = this.#values.cacheSalt;
    if (value === undefined || (typeof value === "string" && value.length <= 256)) return value ?? "";
    return this.#reject("cacheSalt", "a text of at most 256 characters", value, "");
  }

  adapter(): string | null {
    const value = this.#values.adapter ?? undefined;
    if (value === undefined || (typeof value === "string" && value !== "")) return value ?? null;
    return this.#reject("adapter", "the name of a loaded adapter", value, null);
  }

  onPrompt(): GenerateSettings["onPrompt"] {
    const value = this.#values.onPrompt;
    if (value === undefined) return null;
    if (typeof value === "function") return value as GenerateSettings["onPrompt"];
    return this.#reject("onPrompt", "a function", value, null);
  }

  signal(): AbortSignal | null {
    const value = this.#values.signal;
    if (value === undefined) return null;
    if (isSignal(value)) return value;
    return this.#reject("signal", "an AbortSignal", value, null);
  }

  #isId(id: unknown): id is number {
    return Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < this.#vocabSize;
  }

  #reject<T>(name: string, expected: string, found: unknown, byDefault: T): T {
    this.#problems.add(`${name}: expected ${expected}, found ${showValue(found)}`);
    return byDefault;
  }
}

/** An object's key as a token id; keys such as "1.0" or "" are left as they are and rejected. */
function idOf(key: string): unknown {
  return /^\d+$/.test(key) ? Number(key) : key;
}

/** Also true for the signal of another realm or of a polyfill. */
function isSignal(value: unknown): value is AbortSignal {
  const signal = value as Partial<AbortSignal> | null;
  return (
    typeof signal?.aborted === "boolean" &&
    typeof signal.addEventListener === "function" &&
    typeof signal.removeEventListener === "function"
  );
}

function isBias(bias: unknown): bias is number {
  return (
    typeof bias === "number" && (Number.isFinite(Math.fround(bias)) || bias === Number.NEGATIVE_INFINITY)
  );
}
