/**
 * Metrics for Prometheus, under the names that vLLM's dashboards know, with `bitnet_` before them. Labels come from fixed sets only:
 * served models, routes, statuses, reasons; nothing that a request says becomes a label.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { LoadedModel } from "../models.ts";
import type { ActivityListener } from "./activity.ts";

/** Where the values of gauges come from, asked for when somebody wants to know. */
export interface MetricSources {
  readonly version: string;
  models(): readonly LoadedModel[];
  admission(): {
    running: number;
    queued: number;
    queuedTokens: number;
    refused: number;
    background: number;
  };
  batches(): number;
  /** Joules since the start; null where the machine does not tell. */
  joules(): number | null;
  alerts(): { warning: number; critical: number };
}

export interface Metrics extends ActivityListener {
  readonly contentType: string;
  text(): Promise<string>;
}

const firstTokenBuckets = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
];
const gapBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10, 20, 40,
  80,
];
const requestBuckets = [
  0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960,
];
const tokenBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000];

export function createMetrics(sources: MetricSources): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  // Sums of metrics that come with their parts, under a suffix that belongs to counters.
  for (const name of ["handles", "requests", "resources"])
    registry.removeSingleMetric(`nodejs_active_${name}_total`);
  addGauges(registry, sources);
  const byModel = { labelNames: ["model_name"] as const, registers };
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name: `bitnet_${name}`, help, buckets, ...byModel });
  const counter = (name: string, help: string) => new Counter({ name: `bitnet_${name}`, help, ...byModel });

  const promptTokens = counter("prompt_tokens_total", "Prompt tokens of all answers.");
  const generatedTokens = counter("generation_tokens_total", "Generated tokens of all answers.");
  const cacheQueries = counter(
    "prefix_cache_queries_total",
    "Prompt tokens that were looked up in the prefix cache.",
  );
  const cacheHits = counter("prefix_cache_hits_total", "Prompt tokens that the prefix cache had.");
  const finished = new Counter({
    name: "bitnet_request_success_total",
    help: "Answers that have ended, by the reason of their end.",
    labelNames: ["model_name", "finished_reason"],
    registers,
  });
  const requests = new Counter({
    name: "bitnet_http_requests_total",
    help: "Requests that have ended, by route and status.",
    labelNames: ["route", "code"],
    registers,
  });
  const firstToken = histogram(
    "time_to_first_token_seconds",
    "From the request to its first token, waiting included.",
    firstTokenBuckets,
  );
  const gaps = histogram("inter_token_latency_seconds", "Between two tokens of an answer.", gapBuckets);
  const whole = histogram(
    "e2e_request_latency_seconds",
    "From the request to the end of its answer.",
    requestBuckets,
  );
  const queued = histogram("request_queue_time_seconds", "Waiting for a turn.", requestBuckets);
  const prefill = histogram("request_prefill_time_seconds", "Computing the prompt.", requestBuckets);
  const decode = histogram(
    "request_decode_time_seconds",
    "From the first to the last token.",
    requestBuckets,
  );
  const promptSizes = histogram("request_prompt_tokens", "Prompt tokens of an answer.", tokenBuckets);
  const answerSizes = histogram("request_generation_tokens", "Generated tokens of an answer.", tokenBuckets);

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    request({ route, status }) {
      requests.inc({ route, code: String(status) });
    },
    gap(model_name, ms) {
      gaps.observe({ model_name }, ms / 1000);
    },
    answer({ model: model_name, result, queuedMs, isBackground }) {
      const labels = { model_name };
      promptTokens.inc(labels, result.promptTokens);
      generatedTokens.inc(labels, result.ids.length);
      cacheQueries.inc(labels, result.promptTokens);
      cacheHits.inc(labels, result.cachedTokens);
      finished.inc({ model_name, finished_reason: reasonOf(result.stopReason) });
      promptSizes.observe(labels, result.promptTokens);
      answerSizes.observe(labels, result.ids.length);
      if (isBackground) return; // has time, and would hide how long clients wait
      const { timings } = result;
      if (result.ids.length > 0) firstToken.observe(labels, (queuedMs + timings.firstTokenMs) / 1000);
      queued.observe(labels, (queuedMs + timings.queuedMs) / 1000);
      prefill.observe(labels, timings.promptMs / 1000);
      decode.observe(labels, timings.decodeMs / 1000);
      whole.observe(labels, (queuedMs + timings.queuedMs + timings.promptMs + timings.decodeMs) / 1000);
    },
  };
}

function reasonOf(reason: string): "stop" | "length" | "abort" {
  if (reason === "abort") return "abort";
  return reason === "length" || reason === "context" ? "length" : "stop";
}

function addGauges(registry: Registry, sources: MetricSources): void {
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name: `bitnet_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  gauge("num_requests_running", "Requests that have their turn.", () => sources.admission().running);
  gauge("num_requests_waiting", "Requests that wait for their turn.", () => sources.admission().queued);
  gauge(
    "num_tokens_waiting",
    "Tokens that waiting requests may take, estimated: a token for four bytes, and the answers that are asked for.",
    () => sources.admission().queuedTokens,
  );
  gauge(
    "num_batch_lines_running",
    "Lines of batches that have a place.",
    () => sources.admission().background,
  );
  gauge("num_batches", "Batches in the hands of this server.", () => sources.batches());
  new Counter({
    name: "bitnet_requests_refused_total",
    help: "Requests refused because the queue was full or the wait too long.",
    registers: [registry],
    collect() {
      this.reset();
      this.inc(sources.admission().refused);
    },
  });
  new Gauge({
    name: "bitnet_alerts",
    help: "Alerts of the monitor that hold, by severity.",
    labelNames: ["severity"],
    registers: [registry],
    collect() {
      for (const [severity, count] of Object.entries(sources.alerts())) this.set({ severity }, count);
    },
  });
  new Gauge({
    name: "bitnet_info",
    help: "Always 1; the version is its label.",
    labelNames: ["version"],
    registers: [registry],
  }).set({ version: sources.version }, 1);
  if (sources.joules() !== null)
    new Counter({
      name: "bitnet_energy_joules_total",
      help: "Energy that the machine's processors and memory have used since the start, whoever used them.",
      registers: [registry],
      collect() {
        this.reset();
        this.inc(sources.joules() ?? 0);
      },
    });
  addEngineMetrics(registry, sources);
}

/** Values that the engines count themselves, of the models that are loaded. */
function addEngineMetrics(registry: Registry, { models }: MetricSources): void {
  const labels = { labelNames: ["model_name"] as const, registers: [registry] };
  const loaded = () =>
    models().flatMap(({ name, model }) =>
      model === null ? [] : [{ model_name: name, stats: model.stats() }],
    );
  new Gauge({
    name: "bitnet_kv_cache_usage_perc",
    help: "Share of the key/value cache that running requests use, 0 to 1.",
    ...labels,
    collect() {
      this.reset();
      for (const { model_name, stats } of loaded()) this.set({ model_name }, kvUsage(stats));
    },
  });
  const perModel = [
    ["num_preemptions_total", "Requests that lost their cache pages to others.", "preemptions"],
    ["engine_steps_total", "Steps of the engine.", "steps"],
    ["engine_rows_total", "Rows that the engine has computed.", "rowsComputed"],
  ] as const;
  for (const [name, help, field] of perModel)
    new Counter({
      name: `bitnet_${name}`,
      help,
      ...labels,
      collect() {
        this.reset();
        for (const { model_name, stats } of loaded()) this.inc({ model_name }, stats[field]);
      },
    });
}

export function kvUsage(stats: { pagesInUse: number; pagesCached: number; pagesFree: number }): number {
  const all = stats.pagesInUse + stats.pagesCached + stats.pagesFree;
  return all === 0 ? 0 : stats.pagesInUse / all;
}
