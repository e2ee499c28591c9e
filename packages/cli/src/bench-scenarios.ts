/**
 * The deployment scenarios of `bitnet bench --scenario`: limits and priority of four kinds of machine, and what measurements say
 * about a model under them. Every number in an answer follows from a measurement; only the limits are given.
 */
import { formatFineMs } from "./bench-levels.ts";
import { formatBytes, formatCount, formatRate, formatTable, plural } from "./format.ts";

export type ScenarioName = "mobile" | "edge" | "server" | "cloud";
type Priority = "latency" | "efficiency" | "throughput" | "scalability";

export interface Scenario {
  name: ScenarioName;
  threads: number;
  memoryLimitBytes: number;
  priority: Priority;
}

const megabyte = 1e6;
export const scenarios: readonly Scenario[] = [
  { name: "mobile", threads: 2, memoryLimitBytes: 512 * megabyte, priority: "latency" },
  { name: "edge", threads: 4, memoryLimitBytes: 1024 * megabyte, priority: "efficiency" },
  { name: "server", threads: 8, memoryLimitBytes: 2048 * megabyte, priority: "throughput" },
  { name: "cloud", threads: 16, memoryLimitBytes: 4096 * megabyte, priority: "scalability" },
];

export const batchSizes: readonly number[] = [1, 2, 4, 8, 16];

export interface BatchResult {
  sequences: number;
  /** Of all sequences together. */
  tokensPerSecond: number;
  /** Between two tokens of one sequence. */
  tokenMs: number;
  memoryBytes: number;
}

export interface ScenarioMeasurement {
  scenario: Scenario;
  /** Threads that it was measured with: fewer than the scenario's where the machine has fewer cores. */
  threads: number;
  /** Of the loaded model before it has computed anything. */
  privateBytes: number;
  mappedBytes: number;
  kvBytesPerToken: number;
  /** Tokens of each sequence. */
  tokensPerSequence: number;
  batches: readonly BatchResult[];
  /** What one sequence reads per second as a share of a bare read; null where that cannot be measured. */
  bandwidthShare: number | null;
}

export interface ScenarioAnswer {
  /** One sequence of the measured length stays within the limit. */
  fits: boolean;
  /** Sequences that should decode together; null when none fits. */
  recommendedBatch: number | null;
  /** Tokens of context that the limit leaves room for, all sequences together. */
  contextTokens: number;
  tips: string[];
}

/** How much longer a sequence may wait for its token where latency comes first. */
const latencyTolerance = 1.1;
/** What a larger batch has to add in tokens per second to be worth its memory. */
const worthwhileGain = 1.1;

export function judgeScenario(measured: ScenarioMeasurement): ScenarioAnswer {
  const { scenario, privateBytes, mappedBytes, kvBytesPerToken, batches } = measured;
  const base = privateBytes + mappedBytes;
  const fitting = batches.filter(({ memoryBytes }) => memoryBytes <= scenario.memoryLimitBytes);
  const best = chooseBatch(scenario.priority, fitting);
  const room = Math.max(0, scenario.memoryLimitBytes - base);
  return {
    fits: fitting.length > 0,
    recommendedBatch: best?.sequences ?? null,
    contextTokens: Math.floor(room / kvBytesPerToken),
    tips: [...memoryTips(measured, base), ...speedTips(measured, best)],
  };
}

/** @param batches Smallest first. */
export function chooseBatch(priority: Priority, batches: readonly BatchResult[]): BatchResult | undefined {
  const highest = (score: (batch: BatchResult) => number) =>
    batches.reduce<BatchResult | undefined>(
      (best, batch) => (best === undefined || score(batch) > score(best) ? batch : best),
      undefined,
    );
  switch (priority) {
    case "latency": {
      const least = Math.min(...batches.map(({ tokenMs }) => tokenMs));
      return batches.findLast(({ tokenMs }) => tokenMs <= least * latencyTolerance);
    }
    case "efficiency":
      return highest(({ tokensPerSecond, memoryBytes }) => tokensPerSecond / memoryBytes);
    case "throughput":
      return highest(({ tokensPerSecond }) => tokensPerSecond);
    case "scalability": {
      const stop = batches.findIndex(
        ({ tokensPerSecond }, i) =>
          i > 0 && tokensPerSecond < worthwhileGain * (batches[i - 1]?.tokensPerSecond ?? 0),
      );
      return batches.at(stop < 0 ? -1 : stop - 1);
    }
  }
}

function memoryTips(measured: ScenarioMeasurement, base: number): string[] {
  const { scenario, kvBytesPerToken, tokensPerSequence } = measured;
  const over = base + tokensPerSequence * kvBytesPerToken - scenario.memoryLimitBytes;
  if (over <= 0) return [];
  const remedy =
    base > scenario.memoryLimitBytes
      ? `weights and buffers alone take ${formatBytes(base)}: take a smaller model`
      : `shorten the context by ${formatCount(Math.ceil(over / kvBytesPerToken))} tokens`;
  return [`memory is ${formatBytes(over)} over the limit; ${remedy}`];
}

function speedTips(measured: ScenarioMeasurement, best: BatchResult | undefined): string[] {
  const { scenario, threads, batches, bandwidthShare } = measured;
  const tips: string[] = [];
  if (threads < scenario.threads) {
    tips.push(
      `measured with ${plural(threads, "thread")}, all that this machine offers; the scenario has ${scenario.threads}: measure there`,
    );
  }
  const [single] = batches;
  if (single !== undefined && best !== undefined && best.sequences > 1) {
    const gain = best.tokensPerSecond / single.tokensPerSecond;
    tips.push(
      `${best.sequences} sequences together give ${gain.toFixed(1)} × the tokens of one, each waiting ${formatFineMs(best.tokenMs)} instead of ${formatFineMs(single.tokenMs)}`,
    );
  }
  if (bandwidthShare !== null) {
    const percent = `${(100 * bandwidthShare).toFixed(0)} %`;
    tips.push(
      bandwidthShare >= 0.7
        ? `one sequence reads at ${percent} of the memory's speed: more threads will not help it, sequences that decode together will`
        : `one sequence reads at ${percent} of the memory's speed: computing or overhead bounds it, not memory`,
    );
  }
  return tips;
}

export function describeScenario(measured: ScenarioMeasurement, answer: ScenarioAnswer): string {
  const { scenario, threads, batches } = measured;
  const limit = formatBytes(scenario.memoryLimitBytes);
  const head = formatTable([
    ["Scenario", `${scenario.name}: ${scenario.threads} threads, ${limit}, for ${scenario.priority}`],
    ["Measured with", plural(threads, "thread")],
    [
      "Fits",
      answer.fits ? `yes, with room for ${formatCount(answer.contextTokens)} tokens of context` : "no",
    ],
    ["Batch", answer.recommendedBatch === null ? "none fits" : plural(answer.recommendedBatch, "sequence")],
  ]);
  const table = formatTable([
    ["Sequences", "Together", "Per token", "Memory"],
    ...batches.map(({ sequences, tokensPerSecond, tokenMs, memoryBytes }) => [
      `${sequences}`,
      formatRate(tokensPerSecond),
      formatFineMs(tokenMs),
      `${formatBytes(memoryBytes)}${memoryBytes > scenario.memoryLimitBytes ? " (over the limit)" : ""}`,
    ]),
  ]);
  return [head, table, ...answer.tips.map((tip) => `- ${tip}`)].join("\n");
}
