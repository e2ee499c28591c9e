/**
 * A recipe: everything that a run depends on, as plain data and functions. A JSON file holds one that reads files; a module may also
 * make examples. Checked once, with every problem listed.
 */
import { BitNetError, showValue } from "@bitnet.ts/core";
import type { Example } from "../data/example.ts";
import type { TextMode } from "../data/parse-example.ts";
import { type BackwardPrecision, backwardPrecisions } from "../graph/executor.ts";
import type { TransformerShape } from "../graph/transformer.ts";
import type { Schedule } from "../train/schedule.ts";
import { parseExtensions, type RecipeExtension } from "./extensions.ts";
import type { RecipeSource } from "./recipe-source.ts";

interface RecipeModel extends Omit<TransformerShape, "vocabSize"> {}

export interface Recipe {
  name: string;
  description: string;
  seed: number;
  model: RecipeModel;
  tokenizer: {
    vocabSize: number;
    /** Texts that are to be one token each. */
    required: readonly string[];
    /** Examples of the mixture that it is trained on. */
    samples: number;
  };
  sources: readonly RecipeSource[];
  /** Weight of what the assistant does not say, in both stages. */
  otherWeights: readonly [number, number];
  /** Predictions of the whole run; with `batchTokens` the number of steps. */
  tokens: number;
  batchTokens: number;
  microBatchTokens: number;
  schedule: Omit<Schedule, "steps" | "extensions">;
  /** What comes after. A recipe with another one at the end goes on with the run of the recipe without it. */
  extensions: readonly RecipeExtension[];
  /** Precision of the products of the way back, which the weights depend on; extensions have their own. */
  backward: BackwardPrecision;
  evaluateEvery: number;
  checkpointEvery: number;
  keepCheckpoints: number;
  /** Compute the values inside layers again on the way back: less memory, more time, the same bits. */
  recomputes: boolean;
}

const defaults = {
  description: "trained with bitnet.ts",
  seed: 1,
  otherWeights: [1, 0.1],
  batchTokens: 32_768,
  microBatchTokens: 4096,
  evaluateEvery: 100,
  checkpointEvery: 100,
  keepCheckpoints: 3,
  recomputes: false,
  backward: "f32",
} as const;

const scheduleDefaults: Omit<Schedule, "steps" | "extensions"> = {
  warmupSteps: 100,
  peakRate: 2.5e-3,
  decay: "linear",
  floorShare: 0.05,
  stage2Rate: 0.66,
  weightDecay: 0.1,
  stage1Share: 0.5,
};

const modelDefaults = {
  normEps: 1e-5,
  ropeTheta: 10_000,
  activation: "relu2",
  hasSubNorms: true,
  isTied: true,
  form: "b1.58",
} as const;

/** Problems that a message lists. */
const listed = 20;

/** @throws BitNetError INVALID_ARGUMENT that lists every problem, up to twenty of them. */
export function parseRecipe(value: unknown, where: string): Recipe {
  const problems: string[] = [];
  const root = recordOf(value, "the recipe", problems);
  const known = new Set([
    "name",
    "model",
    "tokenizer",
    "sources",
    "tokens",
    "schedule",
    "extensions",
    ...Object.keys(defaults),
  ]);
  for (const key of Object.keys(root))
    if (!known.has(key)) problems.push(`${key.slice(0, 60)}: no such field`);
  const number = (
    holder: Record<string, unknown>,
    key: string,
    fallback: number | undefined,
    isValid: (x: number) => boolean,
    expected: string,
  ): number => {
    const found = holder[key] ?? fallback;
    if (typeof found === "number" && isValid(found)) return found;
    problems.push(`${key} is ${show(found)}, expected ${expected}`);
    return Number.NaN;
  };
  const count = (holder: Record<string, unknown>, key: string, fallback?: number): number =>
    number(holder, key, fallback, (x) => Number.isSafeInteger(x) && x >= 1, "a positive integer");
  const share = (holder: Record<string, unknown>, key: string, fallback: number): number =>
    number(holder, key, fallback, (x) => x >= 0 && x <= 1, "a number from 0 to 1");
  const positive = (holder: Record<string, unknown>, key: string, fallback: number): number =>
    number(holder, key, fallback, (x) => x > 0 && Number.isFinite(x), "a positive number");
  const choice = <T extends string>(
    holder: Record<string, unknown>,
    key: string,
    choices: readonly T[],
    fallback: T,
  ): T => {
    const found = holder[key] ?? fallback;
    const match = choices.find((each) => each === found);
    if (match === undefined) problems.push(`${key} is ${show(found)}, expected one of ${choices.join(", ")}`);
    return match ?? fallback;
  };
  const flag = (holder: Record<string, unknown>, key: string, fallback: boolean): boolean => {
    const found = holder[key] ?? fallback;
    if (typeof found !== "boolean") problems.push(`${key} is ${show(found)}, expected true or false`);
    return found === true;
  };

  const model = recordOf(root.model, "model", problems);
  const tokenizer = recordOf(root.tokenizer ?? {}, "tokenizer", problems);
  const schedule = recordOf(root.schedule ?? {}, "schedule", problems);
  const nHeads = count(model, "nHeads");
  const required = tokenizer.required ?? [];
  if (!Array.isArray(required) || required.some((text) => typeof text !== "string"))
    problems.push("tokenizer.required: expected a list of texts");
  const sources = sourcesOf(root.sources, problems);
  const recipe: Recipe = {
    name: textOf(root.name, "name", problems),
    description: textOf(root.description ?? defaults.description, "description", problems),
    seed: number(
      root,
      "seed",
      defaults.seed,
      (x) => Number.isInteger(x) && x >= 0 && x < 2 ** 32,
      "an unsigned 32-bit integer",
    ),
    model: {
      hiddenSize: count(model, "hiddenSize"),
      ffnSize: count(model, "ffnSize"),
      nLayers: count(model, "nLayers"),
      nHeads,
      nKvHeads: count(model, "nKvHeads", nHeads),
      headDim: count(model, "headDim", Math.floor(Number(model.hiddenSize) / nHeads)),
      contextLength: count(model, "contextLength"),
      normEps: positive(model, "normEps", modelDefaults.normEps),
      ropeTheta: positive(model, "ropeTheta", modelDefaults.ropeTheta),
      activation: choice(model, "activation", ["relu2", "silu"], modelDefaults.activation),
      hasSubNorms: flag(model, "hasSubNorms", modelDefaults.hasSubNorms),
      isTied: flag(model, "isTied", modelDefaults.isTied),
      form: choice(model, "form", ["b1.58", "b1", "float"], modelDefaults.form),
    },
    tokenizer: {
      vocabSize: count(tokenizer, "vocabSize", 2048),
      required: Array.isArray(required) ? (required as string[]) : [],
      samples: count(tokenizer, "samples", 20_000),
    },
    sources,
    otherWeights: pairOf(root.otherWeights ?? defaults.otherWeights, "otherWeights", problems),
    tokens: count(root, "tokens"),
    batchTokens: count(root, "batchTokens", defaults.batchTokens),
    microBatchTokens: count(root, "microBatchTokens", defaults.microBatchTokens),
    schedule: {
      warmupSteps: number(
        schedule,
        "warmupSteps",
        scheduleDefaults.warmupSteps,
        (x) => Number.isSafeInteger(x) && x >= 0,
        "an integer from 0 up",
      ),
      peakRate: positive(schedule, "peakRate", scheduleDefaults.peakRate),
      decay: choice(schedule, "decay", ["linear", "cosine", "constant"], scheduleDefaults.decay),
      floorShare: share(schedule, "floorShare", scheduleDefaults.floorShare),
      stage2Rate: positive(schedule, "stage2Rate", scheduleDefaults.stage2Rate),
      weightDecay: share(schedule, "weightDecay", scheduleDefaults.weightDecay),
      stage1Share: share(schedule, "stage1Share", scheduleDefaults.stage1Share),
    },
    extensions: parseExtensions(root.extensions ?? [], sources, problems),
    evaluateEvery: count(root, "evaluateEvery", defaults.evaluateEvery),
    checkpointEvery: count(root, "checkpointEvery", defaults.checkpointEvery),
    keepCheckpoints: count(root, "keepCheckpoints", defaults.keepCheckpoints),
    backward: choice(root, "backward", backwardPrecisions, defaults.backward),
    recomputes: flag(root, "recomputes", defaults.recomputes),
  };
  if (problems.length > 0) {
    const rest = problems.length > listed ? `; and ${problems.length - listed} more` : "";
    const list = problems.slice(0, listed).join("; ");
    throw new BitNetError("INVALID_ARGUMENT", `${where}: the recipe is invalid: ${list}${rest}`, {
      details: { problems },
    });
  }
  return recipe;
}

function sourcesOf(value: unknown, problems: string[]): RecipeSource[] {
  if (!Array.isArray(value) || value.length === 0) {
    problems.push("sources: expected a list that is not empty");
    return [];
  }
  return value.map((each: unknown, i) => {
    const source = recordOf(each, `sources[${i}]`, problems);
    const { path, generate, textMode, maxSamples, heldOut } = source;
    if ((typeof path === "string") === (typeof generate === "function"))
      problems.push(`sources[${i}]: expected either a path or a function that generates`);
    if (textMode !== undefined && textMode !== "text" && textMode !== "split")
      problems.push(`sources[${i}].textMode is ${show(textMode)}, expected text or split`);
    for (const [key, number] of Object.entries({ maxSamples, heldOut }))
      if (number !== undefined && !(Number.isSafeInteger(number) && (number as number) >= 0))
        problems.push(`sources[${i}].${key} is ${show(number)}, expected an integer from 0 up`);
    return {
      name: textOf(source.name ?? path, `sources[${i}].name`, problems),
      shares: pairOf(source.shares ?? [1, 1], `sources[${i}].shares`, problems),
      ...(typeof path === "string" ? { path } : {}),
      ...(typeof generate === "function"
        ? { generate: generate as (seed: number, index: number) => Example }
        : {}),
      ...(textMode === undefined ? {} : { textMode: textMode as TextMode }),
      ...(maxSamples === undefined ? {} : { maxSamples: maxSamples as number }),
      ...(heldOut === undefined ? {} : { heldOut: heldOut as number }),
    };
  });
}

function pairOf(value: unknown, name: string, problems: string[]): [number, number] {
  if (Array.isArray(value) && value.length === 2 && value.every((x) => typeof x === "number" && x >= 0))
    return [value[0] as number, value[1] as number];
  problems.push(`${name} is ${show(value)}, expected two numbers from 0 up`);
  return [0, 0];
}

function textOf(value: unknown, name: string, problems: string[]): string {
  if (typeof value === "string" && value !== "") return value;
  problems.push(`${name} is ${show(value)}, expected a text`);
  return "";
}

function recordOf(value: unknown, name: string, problems: string[]): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  problems.push(`${name}: expected an object, found ${show(value)}`);
  return {};
}

function show(value: unknown): string {
  return value === undefined ? "missing" : showValue(value);
}
