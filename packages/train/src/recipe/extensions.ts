/** Stages that are added to a finished run: what they hold, and which part of a recipe each of them makes a new one of. */
import { showValue } from "@bitnet.ts/core";
import { type BackwardPrecision, backwardPrecisions } from "../graph/executor.ts";
import type { Extension } from "../train/schedule.ts";
import type { RecipeSource } from "./recipe-source.ts";

/** A stage that is added to a finished run, which goes on from its last checkpoint. */
export interface RecipeExtension {
  /** Predictions of this stage. */
  tokens: number;
  /** Predictions that the rate's decay is spread over, where the stage ends before it: one that was stopped early. */
  decayTokens?: number;
  /** Shares of the tokens by the name of the source. What is not named is left out. */
  shares: Readonly<Record<string, number>>;
  /** Weight of what the assistant does not say. */
  otherWeight: number;
  /** Precision of the products of the way back; default f32. */
  backward?: BackwardPrecision;
  schedule: Omit<Extension, "steps" | "decaySteps">;
}

type Fields = Record<string, unknown>;

const decays = ["linear", "cosine", "constant"] as const;
const defaults = { warmupSteps: 50, decay: "linear", floorShare: 0, weightDecay: 0 } as const;

/** Checks `extensions` of a recipe; what is wrong is added to `problems`. */
export function parseExtensions(
  value: unknown,
  sources: readonly RecipeSource[],
  problems: string[],
): RecipeExtension[] {
  if (!Array.isArray(value)) {
    problems.push("extensions: expected a list");
    return [];
  }
  const extensions = value.map((each: unknown, i) =>
    parseExtension(each, `extensions[${i}]`, sources, problems),
  );
  // Sources are counted by their place: those of a run that is extended come first.
  const firsts = sources.map((source) => firstStage(source, extensions));
  firsts.forEach((first, i) => {
    if (i > 0 && first < (firsts[i - 1] ?? 0))
      problems.push(
        `sources: ${sources[i]?.name} is used before ${sources[i - 1]?.name}; sources of an extension stand after those of the stages before it`,
      );
  });
  return extensions;
}

function parseExtension(
  value: unknown,
  where: string,
  sources: readonly RecipeSource[],
  problems: string[],
): RecipeExtension {
  const root = recordOf(value, where, problems);
  const number = (
    key: string,
    fallback: number | undefined,
    isValid: (x: number) => boolean,
    expected: string,
  ): number => {
    const found = root[key] ?? fallback;
    if (typeof found === "number" && isValid(found)) return found;
    problems.push(
      `${where}.${key} is ${found === undefined ? "missing" : showValue(found)}, expected ${expected}`,
    );
    return 0;
  };
  const known = new Set([
    "tokens",
    "decayTokens",
    "shares",
    "otherWeight",
    "backward",
    "peakRate",
    ...Object.keys(defaults),
  ]);
  for (const key of Object.keys(root)) if (!known.has(key)) problems.push(`${where}.${key}: no such field`);
  const shares = recordOf(root.shares, `${where}.shares`, problems);
  for (const [name, share] of Object.entries(shares)) {
    if (!sources.some((source) => source.name === name))
      problems.push(`${where}.shares: no source is called ${JSON.stringify(name)}`);
    if (!(typeof share === "number" && share >= 0 && share < Number.POSITIVE_INFINITY))
      problems.push(`${where}.shares.${name}: expected a number from 0 up`);
  }
  if (!Object.values(shares).some((share) => typeof share === "number" && share > 0))
    problems.push(`${where}.shares: expected a source with a share above 0`);
  const decay = decays.find((each) => each === (root.decay ?? defaults.decay));
  if (decay === undefined) problems.push(`${where}.decay: expected one of ${decays.join(", ")}`);
  const backward = backwardPrecisions.find((each) => each === (root.backward ?? "f32"));
  if (backward === undefined)
    problems.push(`${where}.backward: expected one of ${backwardPrecisions.join(", ")}`);
  const isCount = (x: number) => Number.isSafeInteger(x) && x >= 1;
  const isShare = (x: number) => x >= 0 && x <= 1;
  return {
    tokens: number("tokens", undefined, isCount, "a positive integer"),
    ...(root.decayTokens === undefined
      ? {}
      : { decayTokens: number("decayTokens", undefined, isCount, "a positive integer") }),
    shares: shares as Record<string, number>,
    otherWeight: number("otherWeight", 0.1, isShare, "a number from 0 to 1"),
    // Only where it is not the default, so that what was made before is the same recipe.
    ...(backward === "bf16" ? { backward } : {}),
    schedule: {
      warmupSteps: number(
        "warmupSteps",
        defaults.warmupSteps,
        (x) => Number.isSafeInteger(x) && x >= 0,
        "an integer from 0 up",
      ),
      peakRate: number(
        "peakRate",
        undefined,
        (x) => x > 0 && x < Number.POSITIVE_INFINITY,
        "a positive number",
      ),
      decay: decay ?? defaults.decay,
      floorShare: number("floorShare", defaults.floorShare, isShare, "a number from 0 to 1"),
      weightDecay: number("weightDecay", defaults.weightDecay, isShare, "a number from 0 to 1"),
    },
  };
}

/** The number of extensions after which a source is first used; 0 is the run itself. */
export function firstStage(source: RecipeSource, extensions: readonly RecipeExtension[]): number {
  if (source.shares.some((share) => share > 0)) return 0;
  // One that nothing uses belongs to the run itself.
  return extensions.findIndex(({ shares }) => (shares[source.name] ?? 0) > 0) + 1;
}

function recordOf(value: unknown, where: string, problems: string[]): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  problems.push(`${where}: expected an object`);
  return {};
}
