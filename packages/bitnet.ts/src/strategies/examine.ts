/**
 * Tries every strategy: looks, brings the model up, lets it generate, measures, and judges the text. Nothing that a strategy does ends
 * the others: its failure is its report.
 */
import { stat } from "node:fs/promises";
import { BitNetError, throwIfAborted } from "@bitnet.ts/core";
import { bitnetCpp } from "./bitnet-cpp.ts";
import { judge } from "./judge.ts";
import { nodeLlamaCpp, onnxRuntime, transformers } from "./libraries.ts";
import {
  type Answer,
  limited,
  openTokenCounter,
  ratePerSecond,
  type TokenCounter,
  timed,
  together,
} from "./measure.ts";
import { messageOf, native, reference, wasm, webgpu } from "./own-engines.ts";
import { type Recommendation, recommend } from "./recommend.ts";
import { openaiEndpoint } from "./servers.ts";
import type { Deployment, Strategy, StrategyOptions, StrategyReport } from "./strategy.ts";

export interface StrategiesReport {
  model: string;
  /** What the texts were compared with: the strategy's name; null where there was nothing to compare with. */
  comparedWith: string | null;
  strategies: StrategyReport[];
  /** The best that answers correctly. */
  chosen: string | null;
  recommendations: Recommendation[];
}

/** Best known first; the reference, which is the measure, before those that are compared with it. */
export const strategies: readonly Strategy[] = [
  ...[reference, native, wasm, webgpu],
  ...[bitnetCpp, nodeLlamaCpp, onnxRuntime, transformers, openaiEndpoint],
];

/** One to begin with, one that is timed, and those that are asked at once: different ones, so that nothing is answered from memory. */
export const strategyPrompts = [
  "The people of the United States",
  "Once upon a time there was a king",
  "In the morning the sea was",
  "The first rule of the house is",
  "She opened the door and saw",
  "A long time ago, in the north,",
] as const;
const [firstPrompt, timedPrompt, ...promptsAtOnce] = strategyPrompts;

/** Beyond it the plain reference would take minutes for a sentence. */
const largestForReference = 256 * 2 ** 20;
const defaultTimeoutMs = 60_000;

/** @throws BitNetError ABORTED, INVALID_ARGUMENT for a name that does not exist; everything else is in the report. */
export async function examineStrategies(
  options: StrategyOptions,
  onReport: (report: StrategyReport) => void = () => {},
): Promise<StrategiesReport> {
  const reports: StrategyReport[] = [];
  let expected = null as { name: string; texts: ReadonlyMap<string, string> } | null;
  const count = await openTokenCounter(options.model);
  const bytes = await stat(options.model).then(
    ({ size }) => size,
    () => 0,
  );
  for (const strategy of named(options.only)) {
    throwIfAborted(options.signal);
    const isTooSlow = strategy === reference && bytes > largestForReference;
    const { report, texts }: Examined = isTooSlow
      ? failed(
          strategy,
          "unavailable",
          "the model is too large for it; the first engine that runs is the measure",
        )
      : await examine(strategy, options, { expected: expected?.texts ?? null, count });
    // Engines of ours give the same bits; the first of them stands for all.
    if (expected === null && report.verdict === "equal") expected = { name: report.name, texts };
    reports.push(report);
    onReport(report);
  }
  return {
    model: options.model,
    comparedWith: expected?.name ?? null,
    strategies: reports,
    chosen: chooseStrategy(reports)?.name ?? null,
    recommendations: recommend(reports),
  };
}

function named(only: readonly string[] | undefined): readonly Strategy[] {
  const names = strategies.map(({ name }) => name);
  const strange = only?.find((name) => !names.includes(name));
  if (strange !== undefined)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `engine "${strange}" does not exist; valid names: ${names.join(", ")}`,
    );
  return strategies.filter(({ name }) => only?.includes(name) ?? true);
}

/** The fastest of those that give the right text; where there are none, of those that answer at all. */
export function chooseStrategy(reports: readonly StrategyReport[]): StrategyReport | null {
  for (const verdicts of [["equal"], ["alike"], ["answers"]]) {
    const right = reports.filter(({ verdict }) => verdicts.includes(verdict));
    right.sort((a, b) => (b.tokensPerSecond ?? 0) - (a.tokensPerSecond ?? 0));
    if (right[0] !== undefined) return right[0];
  }
  return null;
}

interface Examined {
  readonly report: StrategyReport;
  /** By prompt. */
  readonly texts: ReadonlyMap<string, string>;
}

function failed({ name }: Strategy, verdict: "failed" | "unavailable", detail: string): Examined {
  const nothing = {
    firstTokenMs: null,
    tokensPerSecond: null,
    parallelTokensPerSecond: null,
    memoryBytes: null,
  };
  return { report: { name, verdict, detail, text: null, loadMs: null, ...nothing }, texts: new Map() };
}

interface Measure {
  /** Texts of the reference by prompt; null where there are none. */
  readonly expected: ReadonlyMap<string, string> | null;
  readonly count: TokenCounter;
}

async function examine(strategy: Strategy, options: StrategyOptions, measure: Measure): Promise<Examined> {
  let deployment: Deployment | null = null;
  const { timeoutMs = defaultTimeoutMs } = options;
  const limit = () => limited(timeoutMs, options.signal);
  try {
    const { isAvailable, detail } = await strategy.check(options);
    if (!isAvailable) return failed(strategy, "unavailable", detail);
    const start = performance.now();
    const deploying = limit();
    // One that comes up after its time is let go of.
    const coming = strategy.deploy(options, deploying.signal);
    deployment = await deploying.race(coming, (late) => late.dispose());
    const loadMs = performance.now() - start;
    const ask = (prompt: string) => timed(deployment as Deployment, prompt, limit());
    const first = await ask(firstPrompt);
    // By now it has warmed up.
    const second = await ask(timedPrompt);
    const atOnce = strategy.isParallel ? await together(promptsAtOnce, ask) : null;
    // Only a text that cannot be compared has to be said again.
    const again = strategy.runs === "other" ? (await ask(firstPrompt)).text : first.text;
    const answers = [first, second, ...(atOnce?.answers ?? [])];
    const rate = (some: readonly Answer[], ms: number) => ratePerSecond(some, ms, measure.count);
    const { said } = second;
    return {
      report: {
        name: strategy.name,
        verdict: judge(strategy, answers, again, measure.expected),
        detail:
          said === null ? deployment.detail : `${deployment.detail}; says ${said.toFixed(1)} tokens/s itself`,
        text: first.text,
        loadMs,
        firstTokenMs: second.firstTextMs,
        tokensPerSecond: rate([second], second.ms),
        parallelTokensPerSecond: atOnce === null ? null : rate(atOnce.answers, atOnce.ms),
        memoryBytes: deployment.memoryBytes(),
      },
      texts: new Map(answers.map(({ prompt, text }) => [prompt, text])),
    };
  } catch (error) {
    throwIfAborted(options.signal);
    return failed(strategy, "failed", messageOf(error));
  } finally {
    await deployment?.dispose().catch(() => {});
  }
}
