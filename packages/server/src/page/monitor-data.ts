/** What the server says of itself, and the snapshot that two such answers make. Knows nothing of pages. */

export interface Live {
  readonly state: string;
  readonly uptime_s: number;
  readonly models: readonly { readonly name: string }[];
  readonly time: number;
  readonly cpuMicros: number;
  readonly joules: number | null;
  readonly memoryBytes: number;
  readonly nCores: number;
  readonly active: number;
  readonly queued: number;
  readonly batchLines: number;
  readonly kvUsage: number;
  readonly requests: number;
  readonly failed: number;
  readonly latencyMs: number;
  readonly firstTokenMs: number;
  readonly firstTokens: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generatedTokens: number;
}

export interface Snapshot {
  readonly time: number;
  readonly memory_mb: number;
  readonly cpu_percent: number;
  readonly tokens_per_second: number;
  readonly active: number;
  readonly queued: number;
  readonly kv_usage: number;
  readonly cache_hit_rate: number | null;
  readonly error_rate: number | null;
  readonly latency_ms: number | null;
  readonly first_token_ms: number | null;
  readonly watts: number | null;
}

export function liveSnapshot(before: Live, now: Live): Snapshot {
  const seconds = Math.max(1e-3, (now.time - before.time) / 1000);
  const ratio = (part: number, whole: number) => (whole > 0 ? part / whole : null);
  // A server that has been started anew counts from zero.
  const old = now.requests < before.requests || now.generatedTokens < before.generatedTokens ? now : before;
  return {
    time: now.time,
    memory_mb: now.memoryBytes / 2 ** 20,
    cpu_percent: Math.max(0, Math.min(100, (now.cpuMicros - old.cpuMicros) / (seconds * now.nCores * 1e4))),
    tokens_per_second: (now.generatedTokens - old.generatedTokens) / seconds,
    active: now.active,
    queued: now.queued,
    kv_usage: now.kvUsage,
    cache_hit_rate: ratio(now.cachedTokens - old.cachedTokens, now.promptTokens - old.promptTokens),
    error_rate: ratio(now.failed - old.failed, now.requests - old.requests),
    latency_ms: ratio(now.latencyMs - old.latencyMs, now.requests - old.requests),
    first_token_ms: ratio(now.firstTokenMs - old.firstTokenMs, now.firstTokens - old.firstTokens),
    watts: now.joules === null || old.joules === null ? null : (now.joules - old.joules) / seconds,
  };
}
