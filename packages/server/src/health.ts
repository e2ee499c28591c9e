/** What a server says about itself: whether it lives, whether it wants requests, and what it has done. */
import { checkHealth, type HealthReport } from "bitnet.ts";
import { ServeError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import type { Serving } from "./serving.ts";

export async function live(exchange: Exchange): Promise<void> {
  exchange.sendJson({ status: "ok" });
}

/** 503 while models are loaded and once the server is about to end. */
export async function ready(exchange: Exchange): Promise<void> {
  const { state } = exchange.serving;
  if (state === "ready") return exchange.sendJson({ status: "ready" });
  exchange.reply.header("retry-after", "1");
  exchange.sendJson({ status: state }, 503);
}

/** llama-server's form; with `?deep=1` the first model must generate ten tokens for it. */
export async function health(exchange: Exchange): Promise<void> {
  const { serving, request } = exchange;
  if (serving.state !== "ready") throw notReady(serving.state);
  const { deep } = request.query as { deep?: unknown };
  if (deep === undefined || deep === "0") return exchange.sendJson({ status: "ok" });
  const { status, responseTimeMs, tokensGenerated, model } = await deepHealth(serving);
  exchange.sendJson(
    {
      status: status === "healthy" ? "ok" : "error",
      model,
      response_time_ms: responseTimeMs,
      tokens_generated: tokensGenerated,
    },
    status === "healthy" ? 200 : 503,
  );
}

/** Nobody needs a key for it, so that it must not cost more than a little: one check at a time, good for some seconds. */
const deepMs = 5000;
const deepTimeoutMs = 30_000;
const deepChecks = new WeakMap<Serving, { report: Promise<HealthReport>; at: number }>();

function deepHealth(serving: Serving): Promise<HealthReport> {
  const last = deepChecks.get(serving);
  if (last !== undefined && performance.now() - last.at < deepMs) return last.report;
  const report = generateSome(serving);
  const check = { report, at: Number.POSITIVE_INFINITY };
  deepChecks.set(serving, check);
  const settle = () => {
    check.at = performance.now();
  };
  report.then(settle, () => deepChecks.delete(serving));
  return report;
}

async function generateSome({ models, settings }: Serving): Promise<HealthReport> {
  const lease = await models.acquire(undefined);
  try {
    const report = await checkHealth(lease.model, deepTimeoutMs);
    if (report.error !== null) settings.log(`health: ${report.error}`);
    return { ...report, model: lease.name };
  } finally {
    lease.release();
  }
}

export function notReady(state: "loading" | "draining"): ServeError {
  if (state === "draining") return new ServeError("DRAINING", "the server is about to end");
  return new ServeError("LOADING", "the model is being loaded", { retryAfterMs: 1000 });
}

/** What the asking client has used. */
export async function ownUsage(exchange: Exchange): Promise<void> {
  const { name, account } = exchange.client;
  exchange.sendJson({ client: name, limits: account.limits, ...account.usage });
}

export async function statistics(exchange: Exchange): Promise<void> {
  const { serving } = exchange;
  exchange.sendJson({
    state: serving.state,
    version: serving.version,
    uptime_s: (Date.now() - serving.startedAt.getTime()) / 1000,
    requests: serving.admission.stats,
    models: serving.models.list.map(({ name, model, loadedAt }) => ({
      name,
      loaded_at: loadedAt?.toISOString() ?? null,
      ...(model === null ? {} : { engine: model.stats() }),
    })),
    answer_cache: serving.cache.stats,
    memory: { rss_bytes: process.memoryUsage.rss() },
  });
}

/** What guards the server, and what it has kept out. */
export async function showSecurity(exchange: Exchange): Promise<void> {
  const { security, settings } = exchange.serving;
  exchange.sendJson({
    ...security.counters.report(),
    configuration: {
      keys: settings.keysFile !== null,
      limits: settings.limits,
      max_prompt_characters: settings.maxPromptCharacters,
      max_output_tokens: settings.maxOutputTokens,
      ...security.configuration,
    },
  });
}
