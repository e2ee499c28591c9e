/**
 * Tries every strategy: looks, brings the model up, lets it generate, measures, and judges the text. Nothing that a strategy does ends
 * the others: its failure is its report.
 */
import { stat } from "node:fs/promises";
import { BitNetError, throwIfAborted } from "@bitnet.ts/core";
import { bitnetCpp } from "./bitnet-cpp.ts";
import { nodeLlamaCpp, onnxRuntime, transformers } from "./libraries.ts";
import { messageOf, native, reference, wasm, webgpu } from "./own-engines.ts";
import { type Recommendation, recommend } from "./recommend.ts";
import { openaiEndpoint } from "./servers.ts";
import type {
  Deployment,
  Strategy,
  StrategyOptions,
  StrategyReport,
  StrategyText,
  StrategyVerdict,
} from "./strategy.ts";

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

const prompt = "The people of the United States";
const nTokens = 16;
const nAtOnce = 4;
/** Beyond it the plain reference would take minutes for a sentence. */
const largestForReference = 256 * 2 ** 20;
const defaultTimeoutMs = 60_000;

/** @throws BitNetError ABORTED, INVALID_ARGUMENT for a name that does not exist; everything else is in the report. */
export async function examineStrategies(
  options: StrategyOptions,
  onReport: (report: StrategyReport) => void = () => {},
): Promise<StrategiesReport> {
  const reports: StrategyReport[] = [];
  let expected: { name: string; text: string } | null = null;
  const bytes = await stat(options.model).then(
    ({ size }) => size,
    () => 0,
  );
  for (const strategy of named(options.only)) {
    throwIfAborted(options.signal);
    const isTooSlow = strategy === reference && bytes > largestForReference;
    const report: StrategyReport = isTooSlow
      ? failure(
          strategy,
          "unavailable",
          "the model is too large for it; the first engine that runs is the measure",
        )
      : await examine(strategy, options, expected);
    // Engines of ours give the same bits; the first of them stands for all.
    if (expected === null && report.verdict === "equal" && report.text !== null)
      expected = { name: report.name, text: report.text };
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

function failure({ name }: Strategy, verdict: "failed" | "unavailable", detail: string): StrategyReport {
  const nothing = {
    firstTokenMs: null,
    tokensPerSecond: null,
    parallelTokensPerSecond: null,
    memoryBytes: null,
  };
  return { name, verdict, detail, text: null, loadMs: null, ...nothing };
}

async function examine(
  strategy: Strategy,
  options: StrategyOptions,
  expected: { text: string } | null,
): Promise<StrategyReport> {
  let deployment: Deployment | null = null;
  const { timeoutMs = defaultTimeoutMs } = options;
  const limit = () => limited(timeoutMs, options.signal);
  try {
    const { isAvailable, detail } = await strategy.check(options);
    if (!isAvailable) return failure(strategy, "unavailable", detail);
    const start = performance.now();
    const deploying = limit();
    // One that comes up after its time is let go of.
    const coming = strategy.deploy(options, deploying.signal);
    deployment = await deploying.race(coming, (late) => late.dispose());
    const loadMs = performance.now() - start;
    const ask = () => timed(deployment as Deployment, limit());
    const first = await ask();
    const again = await ask();
    const parallel = strategy.isParallel ? await together(ask) : null;
    return {
      name: strategy.name,
      verdict: judge(strategy, first.text, again.text, expected),
      detail: deployment.detail,
      text: first.text,
      loadMs,
      // The second time, the prompt may lie in a cache.
      firstTokenMs: first.firstTokenMs,
      tokensPerSecond: again.tokensPerSecond,
      parallelTokensPerSecond: parallel,
      memoryBytes: deployment.memoryBytes(),
    };
  } catch (error) {
    throwIfAborted(options.signal);
    return failure(strategy, "failed", messageOf(error));
  } finally {
    await deployment?.dispose().catch(() => {});
  }
}

interface Limit {
  readonly signal: AbortSignal;
  /** @param onLate What becomes of a result that comes after all. */
  race<T>(work: Promise<T>, onLate?: (late: T) => unknown): Promise<T>;
}

/** For libraries that take no signal, too: their work is not waited for. */
function limited(timeoutMs: number, outer: AbortSignal | undefined): Limit {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    async race(work, onLate = () => {}) {
      let isOver = false;
      let timer: NodeJS.Timeout | undefined;
      let stop = () => {};
      const ended = new Promise<never>((_, reject) => {
        stop = () => {
          isOver = true;
          controller.abort();
          reject(new Error(outer?.aborted ? "interrupted" : `it took longer than ${timeoutMs / 1000} s`));
        };
        timer = setTimeout(stop, timeoutMs);
        outer?.addEventListener("abort", stop, { once: true });
        if (outer?.aborted) stop();
      });
      void work.then(
        (late) => (isOver ? onLate(late) : undefined),
        () => {},
      );
      try {
        return await Promise.race([work, ended]);
      } finally {
        clearTimeout(timer);
        outer?.removeEventListener("abort", stop);
      }
    },
  };
}

/** One text, its speed from outside where the engine does not say it. */
async function timed(deployment: Deployment, limit: Limit): Promise<StrategyText> {
  const start = performance.now();
  const request = { prompt, maxTokens: nTokens, signal: limit.signal };
  const found = await limit.race(deployment.generate(request));
  const seconds = (performance.now() - start) / 1000;
  return {
    ...found,
    tokensPerSecond: found.tokensPerSecond ?? (found.tokens === null ? null : found.tokens / seconds),
  };
}

async function together(ask: () => Promise<StrategyText>): Promise<number | null> {
  const start = performance.now();
  const texts = await Promise.all(Array.from({ length: nAtOnce }, ask));
  const seconds = (performance.now() - start) / 1000;
  return texts.some(({ tokens }) => tokens === null)
    ? null
    : texts.reduce((sum, { tokens }) => sum + (tokens ?? 0), 0) / seconds;
}

function judge(
  strategy: Strategy,
  text: string,
  again: string,
  expected: { text: string } | null,
): StrategyVerdict {
  if (text.trim() === "") return "wrong";
  if (strategy.runs === "model" && (expected === null || text === expected.text)) {
    // Where there is nothing to compare with, only our own engines are their own measure.
    return expected !== null || isOwn(strategy) ? "equal" : "answers";
  }
  if (strategy.runs === "other") return text === again ? "answers" : "wrong";
  return !isOwn(strategy) && isAlike(text, expected?.text ?? "") ? "alike" : "wrong";
}

function isOwn(strategy: Strategy): boolean {
  return [reference, native, wasm, webgpu].includes(strategy);
}

function isAlike(text: string, expected: string): boolean {
  const [a, b] = [text.trim(), expected.trim()];
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length > 0 && length * 2 >= b.length;
}
