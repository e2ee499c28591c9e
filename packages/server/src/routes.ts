/** Which path is what, on which method, and who may ask: the map of the server. */
import { cancelBatch, createBatch, getBatch, listBatches } from "./batches/batch-routes.ts";
import { createFile, deleteFile, getFile, listFiles, readFileContent } from "./batches/file-routes.ts";
import { countTokens, messages } from "./dialects/anthropic.ts";
import { ollamaEmbed, ollamaEmbeddings, openaiEmbeddings } from "./dialects/embeddings.ts";
import { llamaCompletion } from "./dialects/llama-completion.ts";
import { getModel, listModels } from "./dialects/models.ts";
import { ollamaChat, ollamaGenerate } from "./dialects/ollama.ts";
import { notHere, running, show, tags, version } from "./dialects/ollama-models.ts";
import { ollamaCopy, ollamaDelete, ollamaPull } from "./dialects/ollama-pull.ts";
import { chatCompletions } from "./dialects/openai-chat.ts";
import { completions } from "./dialects/openai-completions.ts";
import {
  countInputTokens,
  createResponse,
  deleteResponse,
  getResponse,
  listInputItems,
} from "./dialects/responses.ts";
import { applyTemplate, detokenize, props, tokenize, tokenizerInfo } from "./dialects/tokens.ts";
import type { Exchange } from "./exchange.ts";
import { health, live, ownUsage, ready, showSecurity, statistics } from "./health.ts";
import {
  exportHistory,
  showAlerts,
  showHistory,
  showLive,
  showMetrics,
  showSummary,
} from "./monitor/monitor-routes.ts";

export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly handle: (exchange: Exchange) => Promise<void>;
  /** "model": answers only once the models are there; "state": always. */
  readonly needs: "model" | "state";
  /** Needs no key. */
  readonly isPublic?: boolean;
}

const model = (method: Route["method"], paths: readonly string[], handle: Route["handle"]): Route[] =>
  paths.map((path) => ({ method, path, handle, needs: "model" }));

const state = (method: Route["method"], path: string, handle: Route["handle"]): Route => ({
  method,
  path,
  handle,
  needs: "state",
});

/** For those who run the server: on a port of their own where there is one. */
export function isAdmin({ path }: Route): boolean {
  return path.startsWith("/monitor/") || ["/metrics", "/stats", "/security"].includes(path);
}

export const routes: readonly Route[] = [
  ...model("POST", ["/v1/chat/completions", "/chat/completions"], chatCompletions),
  ...model("POST", ["/v1/completions", "/completions"], completions),
  ...model("POST", ["/v1/responses", "/responses"], createResponse),
  ...model("POST", ["/v1/responses/input_tokens", "/responses/input_tokens"], countInputTokens),
  ...model("GET", ["/v1/responses/:id", "/responses/:id"], getResponse),
  ...model("DELETE", ["/v1/responses/:id", "/responses/:id"], deleteResponse),
  ...model("GET", ["/v1/responses/:id/input_items", "/responses/:id/input_items"], listInputItems),
  ...model("GET", ["/v1/models", "/models"], listModels),
  ...model("GET", ["/v1/models/*", "/models/*"], getModel),
  ...model("POST", ["/v1/messages"], messages),
  ...model("POST", ["/v1/messages/count_tokens"], countTokens),
  ...model("POST", ["/completion"], llamaCompletion),
  ...model("POST", ["/tokenize", "/v1/tokenize"], tokenize),
  ...model("POST", ["/detokenize", "/v1/detokenize"], detokenize),
  ...model("POST", ["/apply-template"], applyTemplate),
  ...model("GET", ["/tokenizer_info"], tokenizerInfo),
  ...model("GET", ["/props"], props),
  ...model("POST", ["/v1/embeddings", "/embeddings"], openaiEmbeddings),
  ...model("POST", ["/api/embed"], ollamaEmbed),
  ...model("POST", ["/api/embeddings"], ollamaEmbeddings),
  ...model("GET", ["/slots"], notHere),
  ...model("POST", ["/api/chat"], ollamaChat),
  ...model("POST", ["/api/generate"], ollamaGenerate),
  ...model("GET", ["/api/tags"], tags),
  ...model("GET", ["/api/ps"], running),
  ...model("POST", ["/api/show"], show),
  ...model("POST", ["/api/pull"], ollamaPull),
  ...model("DELETE", ["/api/delete"], ollamaDelete),
  ...model("POST", ["/api/copy"], ollamaCopy),
  ...model("POST", ["/api/create", "/api/push"], notHere),
  state("POST", "/v1/files", createFile),
  state("GET", "/v1/files", listFiles),
  state("GET", "/v1/files/:id", getFile),
  state("DELETE", "/v1/files/:id", deleteFile),
  state("GET", "/v1/files/:id/content", readFileContent),
  state("POST", "/v1/batches", createBatch),
  state("GET", "/v1/batches", listBatches),
  state("GET", "/v1/batches/:id", getBatch),
  state("POST", "/v1/batches/:id/cancel", cancelBatch),
  state("GET", "/metrics", showMetrics),
  state("GET", "/monitor/summary", showSummary),
  state("GET", "/monitor/history", showHistory),
  state("GET", "/monitor/live", showLive),
  state("GET", "/monitor/alerts", showAlerts),
  state("GET", "/monitor/export", exportHistory),
  state("GET", "/security", showSecurity),
  { method: "GET", path: "/api/version", handle: version, needs: "state" },
  { method: "GET", path: "/health", handle: health, needs: "state", isPublic: true },
  { method: "GET", path: "/health/live", handle: live, needs: "state", isPublic: true },
  { method: "GET", path: "/health/ready", handle: ready, needs: "state", isPublic: true },
  { method: "GET", path: "/stats", handle: statistics, needs: "state" },
  { method: "GET", path: "/usage", handle: ownUsage, needs: "state" },
];
