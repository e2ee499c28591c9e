/** What a server says about itself: whether it lives, whether it wants requests, and what it has done. */
import { ServeError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";

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

/** llama-server's form. */
export async function health(exchange: Exchange): Promise<void> {
  const { state } = exchange.serving;
  if (state === "ready") return exchange.sendJson({ status: "ok" });
  throw notReady(state);
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
    memory: { rss_bytes: process.memoryUsage.rss() },
  });
}
