/**
 * The levels of `bitnet bench --levels`: the same model with less and with more of what makes it fast. Decides which levels can
 * run here and turns samples into what is reported; loading and timing happen elsewhere.
 */
import type { BackendReport, BitNetLoadOptions, ModelStats } from "bitnet.ts";
import type { RunSample } from "./bench-run.ts";
import { formatBytes, formatMs, formatRate, formatTable, median } from "./format.ts";

export type LevelName = "baseline" | "optimized" | "aggressive";

/** A level that runs, with what to load the model with beyond the user's flags. */
interface RunnableLevel {
  level: LevelName;
  summary: string;
  load: BitNetLoadOptions;
}

export interface MissingLevel {
  level: LevelName;
  summary: string;
  /** Why it cannot run. */
  unavailable: string;
}

export interface LevelResult {
  level: LevelName;
  backend: string;
  isa: string;
  threads: number;
  promptTokensPerSecond: number;
  decodeTokensPerSecond: number;
  /** Between two tokens of a text. */
  tokenMs: number;
  firstTokenMs: number;
  /** Requests like the measured one, one after the other. */
  requestsPerMinute: number;
  memoryBytes: number;
  /** Generated tokens per second for each GB (10⁹ bytes) of memory. */
  efficiency: number;
  energy: { joulesPerToken: number } | null;
}

/** @param backend The one that the user forces. Threads and instruction set that a user asks for are those of `optimized`. */
export function planLevels(
  backend: string | undefined,
  reports: readonly BackendReport[],
): (RunnableLevel | MissingLevel)[] {
  const native = reports.find(({ name }) => name === "native");
  const best = "all cores, best instruction set";
  const more = "the same with a screened head";
  const missing =
    backend === "reference"
      ? "the reference backend was asked for"
      : native?.isAvailable === true
        ? null
        : (native?.detail ?? "absent");
  if (missing !== null) {
    const unavailable = `it needs the native backend (${missing})`;
    return [
      { level: "baseline", summary: "reference backend", load: { backend: "reference" } },
      { level: "optimized", summary: best, unavailable },
      { level: "aggressive", summary: more, unavailable },
    ];
  }
  const plain = { backend: "native", screening: false } as const;
  return [
    { level: "baseline", summary: "1 thread, scalar", load: { ...plain, isa: "scalar", threads: 1 } },
    { level: "optimized", summary: best, load: plain },
    {
      level: "aggressive",
      summary: more,
      load: { backend: "native", screening: true },
    },
  ];
}

export interface LevelMeasurement {
  info: { backend: string; isa: string; threads: number };
  stats: Pick<ModelStats, "privateBytes" | "mappedBytes">;
  samples: readonly RunSample[];
  nPrompt: number;
  nGen: number;
}

export function summariseLevel(
  level: LevelName,
  { info, stats, samples, nPrompt, nGen }: LevelMeasurement,
): LevelResult {
  const { backend, isa, threads } = info;
  const middle = (key: "promptTokensPerSecond" | "decodeTokensPerSecond" | "firstTokenMs") =>
    median(samples.map((sample) => sample[key]));
  const promptTokensPerSecond = middle("promptTokensPerSecond");
  const decodeTokensPerSecond = middle("decodeTokensPerSecond");
  const memoryBytes = stats.privateBytes + stats.mappedBytes;
  return {
    ...{ level, backend, isa, threads, promptTokensPerSecond, decodeTokensPerSecond, memoryBytes },
    tokenMs: 1000 / decodeTokensPerSecond,
    firstTokenMs: middle("firstTokenMs"),
    requestsPerMinute: 60 / (nPrompt / promptTokensPerSecond + nGen / decodeTokensPerSecond),
    efficiency: decodeTokensPerSecond / (memoryBytes / 1e9),
    energy: medianJoules(samples),
  };
}

/** null where the machine does not count energy. */
export function medianJoules(samples: readonly RunSample[]): { joulesPerToken: number } | null {
  const joules = samples.flatMap(({ joulesPerToken }) => (joulesPerToken === null ? [] : [joulesPerToken]));
  return joules.length === 0 ? null : { joulesPerToken: median(joules) };
}

const labels: readonly [label: string, cell: (result: LevelResult) => string][] = [
  ["Machine", ({ backend, isa, threads }) => `${backend}/${isa} × ${threads}`],
  ["Prompt", ({ promptTokensPerSecond }) => formatRate(promptTokensPerSecond)],
  ["Decode", ({ decodeTokensPerSecond }) => formatRate(decodeTokensPerSecond)],
  ["Per token", ({ tokenMs }) => formatFineMs(tokenMs)],
  ["First token", ({ firstTokenMs }) => formatMs(firstTokenMs)],
  ["Requests", ({ requestsPerMinute }) => `${requestsPerMinute.toPrecision(3)} per minute`],
  ["Memory", ({ memoryBytes }) => formatBytes(memoryBytes)],
  ["Efficiency", ({ efficiency }) => `${efficiency.toPrecision(3)} tok/s per GB`],
  ["Energy", ({ energy }) => formatEnergy(energy)],
];

export function formatEnergy(energy: { joulesPerToken: number } | null): string {
  return energy === null ? "not available" : `${energy.joulesPerToken.toPrecision(3)} J per token`;
}

/** `0.41 ms`, `28.7 ms` */
export function formatFineMs(ms: number): string {
  return ms < 100 ? `${ms.toPrecision(3)} ms` : formatMs(ms);
}

/** A column per level that ran, and a line for each that did not. */
export function describeLevels(results: readonly (LevelResult | MissingLevel)[]): string {
  const ran = results.filter((result): result is LevelResult => !("unavailable" in result));
  const table = formatTable([
    ["", ...ran.map(({ level }) => level)],
    ...labels.map(([label, cell]) => [label, ...ran.map(cell)]),
  ]);
  const missing = results.flatMap((result) =>
    "unavailable" in result ? [`${result.level}: not available: ${result.unavailable}`] : [],
  );
  return [table, ...missing].join("\n");
}
