/** What the monitor notes at one time: readings of counters, and the snapshot that two of them make. */
import type { Totals } from "./activity.ts";

/** Counters since the start, and values of the moment. */
export interface Reading {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly totals: Readonly<Totals>;
  /** Of this process, in microseconds. */
  readonly cpuMicros: number;
  readonly joules: number | null;
  readonly memoryBytes: number;
  /** What it may take as it was set up; null while that is not known. */
  readonly plannedBytes: number | null;
  readonly active: number;
  readonly queued: number;
  readonly queuedTokens: number;
  readonly batchLines: number;
  /** Share of the fullest model's key/value cache. */
  readonly kvUsage: number;
}

/** Null: there was nothing to measure. Rates and averages are of the time since the snapshot before. */
export interface Snapshot {
  readonly time: number;
  readonly memory_mb: number;
  readonly memory_planned_mb: number | null;
  /** Of all cores together. */
  readonly cpu_percent: number;
  readonly tokens_per_second: number;
  readonly requests: number;
  readonly failed: number;
  readonly active: number;
  readonly queued: number;
  readonly queued_tokens: number;
  readonly batch_lines: number;
  readonly kv_usage: number;
  readonly cache_hit_rate: number | null;
  readonly error_rate: number | null;
  /** Of whole requests, whatever the length of their answers. */
  readonly latency_ms: number | null;
  readonly first_token_ms: number | null;
  readonly watts: number | null;
}

export const snapshotFields = [
  "time",
  "memory_mb",
  "cpu_percent",
  "tokens_per_second",
  "requests",
  "failed",
  "active",
  "queued",
  "batch_lines",
  "kv_usage",
  "cache_hit_rate",
  "error_rate",
  "latency_ms",
  "watts",
  // Later ones come last: whoever reads an export by columns finds the others where they were.
  "memory_planned_mb",
  "queued_tokens",
  "first_token_ms",
] as const satisfies readonly (keyof Snapshot)[];

export function takeSnapshot(before: Reading, now: Reading, nCores: number): Snapshot {
  const seconds = Math.max(1e-3, (now.time - before.time) / 1000);
  const since = (field: keyof Totals) => now.totals[field] - before.totals[field];
  const ratio = (part: number, whole: number) => (whole > 0 ? part / whole : null);
  return {
    time: now.time,
    memory_mb: now.memoryBytes / 2 ** 20,
    memory_planned_mb: now.plannedBytes === null ? null : now.plannedBytes / 2 ** 20,
    cpu_percent: Math.min(100, (now.cpuMicros - before.cpuMicros) / (seconds * nCores * 1e4)),
    tokens_per_second: since("generatedTokens") / seconds,
    requests: since("requests"),
    failed: since("failed"),
    active: now.active,
    queued: now.queued,
    queued_tokens: now.queuedTokens,
    batch_lines: now.batchLines,
    kv_usage: now.kvUsage,
    cache_hit_rate: ratio(since("cachedTokens"), since("promptTokens")),
    error_rate: ratio(since("failed"), since("requests")),
    latency_ms: ratio(since("latencyMs"), since("requests")),
    first_token_ms: ratio(since("firstTokenMs"), since("firstTokens")),
    watts: now.joules === null || before.joules === null ? null : (now.joules - before.joules) / seconds,
  };
}
