/**
 * One request and its answer: the client's signal, its turn, its model, and how answers, streams and errors leave. Dialects are written
 * against this; it knows none of them beyond the shape of their errors.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Client } from "./clients.ts";
import { type Dialect, errorBody, ServeError, statusIn, toServeError } from "./errors.ts";
import { Fields, parseBody } from "./fields.ts";
import type { Lease } from "./models.ts";
import type { EndedAnswer } from "./monitor/activity.ts";
import type { Serving } from "./serving.ts";
import { StreamWriter } from "./stream-writer.ts";
import { estimateTokens } from "./token-estimate.ts";

export type StreamKind = "sse" | "named-sse" | "ndjson";

const contentTypes: Readonly<Record<StreamKind, string>> = {
  sse: "text/event-stream; charset=utf-8",
  "named-sse": "text/event-stream; charset=utf-8",
  ndjson: "application/x-ndjson",
};

export class Exchange {
  readonly serving: Serving;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly dialect: Dialect;
  readonly client: Client;
  readonly #controller = new AbortController();
  readonly #cleanups: (() => void)[] = [];
  #body: Fields | null = null;
  #stream: { writer: StreamWriter; kind: StreamKind } | null = null;
  #usedTokens = 0;
  #nPrompt = 0;
  queuedMs = 0;
  /** Those that have ended. */
  readonly answers: EndedAnswer[] = [];
  /** As the client has named it; known once it has started. */
  modelName: string | undefined;
  /** What it has failed with, if it has. */
  failure: ServeError | null = null;

  constructor(parts: {
    serving: Serving;
    request: FastifyRequest;
    reply: FastifyReply;
    dialect: Dialect;
    client: Client;
  }) {
    this.serving = parts.serving;
    this.request = parts.request;
    this.reply = parts.reply;
    this.dialect = parts.dialect;
    this.client = parts.client;
    const { raw } = parts.reply;
    const onClose = () => {
      if (!raw.writableFinished) this.abort(new ServeError("ABORTED", "the client has left"));
    };
    raw.once("close", onClose);
    this.#cleanups.push(() => raw.off("close", onClose));
    const { background } = parts.client;
    background?.signal.addEventListener("abort", onClose, { once: true });
    this.#cleanups.push(() => background?.signal.removeEventListener("abort", onClose));
  }

  get id(): string {
    return this.request.id;
  }

  /** Fires when the client leaves, time is up or the server ends. Its reason is a ServeError. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get body(): Fields {
    const encoding = this.request.headers["content-encoding"] ?? "identity";
    if (encoding !== "identity")
      throw new ServeError(
        "INVALID_INPUT",
        "content-encoding: bodies are not unpacked here; send it as it is",
      );
    this.#body ??= new Fields(parseBody(this.bodyBytes));
    return this.#body;
  }

  get bodyBytes(): Uint8Array {
    return this.request.body instanceof Uint8Array ? this.request.body : new Uint8Array();
  }

  abort(reason: ServeError): void {
    this.#controller.abort(reason);
  }

  throwIfAborted(): void {
    if (this.signal.aborted) throw this.signal.reason;
  }

  /** What to do when the exchange has ended, however it did. */
  onEnd(cleanup: () => void): void {
    this.#cleanups.push(cleanup);
  }

  /** Within the client's limits, or an error that says when to come again. */
  async countRequest(): Promise<void> {
    this.onEnd(await this.client.account.openShared());
    this.reply.headers(this.client.account.headers());
  }

  /** Waits for a turn, then takes the model into use. The time of the request runs from its turn. */
  async start(modelName: string | undefined): Promise<Lease> {
    const { serving } = this;
    serving.models.resolve(modelName);
    this.modelName = modelName;
    await this.countRequest();
    const { tenant, id, background } = this.client;
    const ticket = await serving.admission.enter(this.bodyBytes.length, this.signal, {
      tenant: tenant === "" ? id : tenant,
      isBackground: background !== undefined,
      tokens: this.#estimate(),
    });
    this.onEnd(() => ticket.release());
    this.queuedMs = ticket.queuedMs;
    this.throwIfAborted();
    const timer = setTimeout(
      () => this.abort(new ServeError("TIMEOUT", "the request took longer than this server allows")),
      serving.settings.timeoutMs,
    );
    this.onEnd(() => clearTimeout(timer));
    const lease = await this.#acquire(modelName);
    this.onEnd(() => lease.release());
    this.throwIfAborted();
    return lease;
  }

  #estimate(): number {
    const get = (name: string) => this.#body?.raw(name);
    return estimateTokens(get, this.bodyBytes.length, this.request.url, this.serving.settings);
  }

  /** Whoever leaves while a model is being loaded does not wait for it. */
  #acquire(modelName: string | undefined): Promise<Lease> {
    const lease = this.serving.models.acquire(modelName);
    return this.whileOpen(lease).catch((error: unknown) => {
      lease.then((unused) => unused.release()).catch(() => {});
      throw error;
    });
  }

  /** Reserves the tokens that answers may take. To be asked before anything of the answer is sent. */
  async reserveTokens(nTokens: number): Promise<void> {
    const settle = await this.client.account.reserveShared(nTokens);
    this.reply.headers(this.client.account.headers());
    this.onEnd(() => settle(this.#usedTokens));
  }

  /** What has been computed for it so far. */
  get tokens(): { prompt_tokens: number; completion_tokens: number } {
    return { prompt_tokens: this.#nPrompt, completion_tokens: this.#usedTokens - this.#nPrompt };
  }

  /** Waits for what cannot be aborted, but no longer than the exchange lasts. */
  async whileOpen<T>(work: Promise<T>): Promise<T> {
    this.throwIfAborted();
    let stop = () => {};
    const ended = new Promise<never>((_, reject) => {
      stop = () => reject(this.signal.reason as ServeError);
      this.signal.addEventListener("abort", stop, { once: true });
    });
    try {
      return await Promise.race([work, ended]);
    } finally {
      this.signal.removeEventListener("abort", stop);
    }
  }

  countTokens(nPrompt: number, nCompletion: number): void {
    const { usage } = this.client.account;
    usage.prompt_tokens += nPrompt;
    usage.completion_tokens += nCompletion;
    this.#usedTokens += nPrompt + nCompletion;
    this.#nPrompt += nPrompt;
  }

  sendJson(value: object, status = 200): void {
    this.reply
      .code(status)
      .header("content-type", "application/json; charset=utf-8")
      .send(JSON.stringify(value));
  }

  openStream(kind: StreamKind): StreamWriter {
    this.throwIfAborted();
    this.reply.hijack();
    const headers = Object.fromEntries(
      Object.entries(this.reply.getHeaders()).filter(([, value]) => value !== undefined),
    ) as Record<string, string | number | string[]>;
    const writer = new StreamWriter(this.reply.raw, {
      headers: {
        ...headers,
        "content-type": contentTypes[kind],
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
      },
      stallMs: this.serving.settings.stallMs,
      keepAlive: kind === "ndjson" ? null : ": \n\n",
      keepAliveMs: 10_000,
    });
    this.#stream = { writer, kind };
    return writer;
  }

  /** Answers with an error, or ends the stream with one. */
  fail(thrown: unknown): void {
    const error = this.signal.aborted ? (this.signal.reason as ServeError) : toServeError(thrown);
    this.failure = error;
    if (error.status >= 500 && error.status !== 501 && error.status !== 503)
      this.serving.settings.log(describeFailure(this.id, error));
    if (this.#stream !== null) this.#failStream(this.#stream, error);
    else if (!this.reply.raw.destroyed) sendError(this.reply, this.dialect, error, this.id);
  }

  end(): void {
    for (const cleanup of this.#cleanups.splice(0).reverse()) cleanup();
  }

  #failStream({ writer, kind }: { writer: StreamWriter; kind: StreamKind }, error: ServeError): void {
    if (writer.isEnded) return;
    const body = JSON.stringify(errorBody(this.dialect, error, this.id));
    if (kind === "ndjson") writer.end(`${body}\n`);
    else if (kind === "named-sse") writer.end(`event: error\ndata: ${body}\n\n`);
    else writer.end(`data: ${body}\n\ndata: [DONE]\n\n`);
  }
}

export function sendError(reply: FastifyReply, dialect: Dialect, error: ServeError, requestId: string): void {
  reply.code(statusIn(dialect, error)).header("content-type", "application/json; charset=utf-8");
  reply.headers({ "x-request-id": requestId, "request-id": requestId, "x-bitnet-code": error.code });
  if (error.retryAfterMs !== null) {
    reply.header("retry-after", Math.max(1, Math.ceil(error.retryAfterMs / 1000)));
    reply.header("retry-after-ms", Math.max(1000, Math.round(error.retryAfterMs)));
  }
  // Clients retry every 5xx by themselves, also where that can change nothing.
  if (error.status >= 500 && error.retryAfterMs === null) reply.header("x-should-retry", "false");
  reply.send(JSON.stringify(errorBody(dialect, error, requestId)));
}

/** For the log: the cause with its place in the code, on one line. */
function describeFailure(id: string, error: ServeError): string {
  const cause = error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : error.message;
  return `request ${id}: ${error.code}: ${cause.replaceAll(/\s*\n\s*/g, " | ").slice(0, 2000)}`;
}
