/**
 * A model as a service within a program: requests with names in, answers with figures out, at most so many at once, each within its time.
 * One that fails does not touch the others. Knows nothing of HTTP.
 */
import { BitNetError, BoundedCache, type CacheStats, type GenerateOptions } from "@bitnet.ts/core";
import { type BitNet, encodePrompt } from "./bitnet.ts";
import { checkKnown } from "./known-options.ts";
import type { ModelStats } from "./types.ts";

export interface InferenceServiceOptions {
  /** Requests that run at once; others wait. Default 10. */
  concurrency?: number;
  /** The longest time of a request, waiting included, in milliseconds. Default 30,000. */
  timeoutMs?: number;
  /** Tokens of an answer where a request does not say. Default 200. */
  maxTokens?: number;
  /** Longer prompts lose their beginning. Default 2048. */
  maxPromptTokens?: number;
  /** Answers that greedy sampling or a seed determines are kept; false: none are. Default 64 MiB for an hour. */
  cache?: false | { maxBytes?: number; maxAgeMs?: number };
}

export interface InferenceRequest extends Omit<GenerateOptions, "mask" | "logprobs" | "promptLogprobs"> {
  /** Comes back with the answer. Default: a number that counts up. */
  id?: string;
  prompt: string;
  /** Comes back with the answer. */
  metadata?: Readonly<Record<string, unknown>>;
}

export interface InferenceResponse {
  readonly id: string;
  readonly status: "success" | "error";
  /** Empty after an error. */
  readonly response: string;
  /** Null after a success. */
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly tokensGenerated: number;
  readonly promptTokens: number;
  /** The prompt was longer than allowed and has lost its beginning. */
  readonly isTruncated: boolean;
  /** From the call to the answer, waiting included. */
  readonly timeMs: number;
  readonly tokensPerSecond: number;
  readonly cacheHit: boolean;
  readonly seed: number | null;
  readonly model: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface InferenceStats {
  readonly requests: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Of the requests that were answered, 0…1; 1 where there were none. */
  readonly successRate: number;
  readonly running: number;
  readonly waiting: number;
  readonly totalTimeMs: number;
  readonly averageTimeMs: number;
  /** Since the service was made. */
  readonly requestsPerSecond: number;
  readonly tokensGenerated: number;
  readonly cache: CacheStats | null;
  readonly engine: ModelStats;
}

export interface HealthReport {
  readonly status: "healthy" | "unhealthy";
  /** How long generating took. */
  readonly responseTimeMs: number;
  readonly tokensGenerated: number;
  /** Null when healthy. */
  readonly error: string | null;
  readonly model: string;
}

interface KeptAnswer {
  readonly response: string;
  readonly nTokens: number;
  readonly nPrompt: number;
  readonly seed: number;
  readonly isTruncated: boolean;
}

/**
 * @example
 * const service = new InferenceService(await BitNet.load("model.gguf"));
 * const answers = await service.generateBatch([{ id: "a", prompt: "Once" }, { id: "b", prompt: "Then" }]);
 */
export class InferenceService {
  readonly model: BitNet;
  readonly #limits: { concurrency: number; timeoutMs: number; maxTokens: number; maxPromptTokens: number };
  readonly #cache: BoundedCache<KeptAnswer> | null;
  readonly #waiting: (() => void)[] = [];
  readonly #startedAt = performance.now();
  #nRunning = 0;
  #nRequests = 0;
  #nSucceeded = 0;
  #nFailed = 0;
  #totalMs = 0;
  #nTokens = 0;

  /** @param model Stays the caller's, who disposes it. @throws BitNetError INVALID_ARGUMENT */
  constructor(model: BitNet, options: InferenceServiceOptions = {}) {
    checkKnown("InferenceService", options, {
      concurrency: true,
      timeoutMs: true,
      maxTokens: true,
      maxPromptTokens: true,
      cache: true,
    } satisfies Record<keyof InferenceServiceOptions, true>);
    const { concurrency = 10, timeoutMs = 30_000, maxTokens = 200, maxPromptTokens = 2048 } = options;
    const { cache } = options;
    for (const [name, value] of Object.entries({ concurrency, timeoutMs, maxTokens, maxPromptTokens }))
      if (!Number.isSafeInteger(value) || value < 1)
        throw new BitNetError("INVALID_ARGUMENT", `InferenceService: ${name}: expected a positive integer`);
    this.model = model;
    this.#limits = { concurrency, timeoutMs, maxTokens, maxPromptTokens };
    this.#cache =
      cache === false ? null : new BoundedCache({ maxBytes: 64 * 2 ** 20, maxAgeMs: 3_600_000, ...cache });
  }

  /** Answers one request. Never rejects: what goes wrong stands in the answer. */
  async generate(request: InferenceRequest): Promise<InferenceResponse> {
    const start = performance.now();
    const id = request.id ?? `request-${this.#nRequests + 1}`;
    this.#nRequests++;
    const head = { id, model: this.model.info.name, metadata: request.metadata ?? {} };
    try {
      const { kept, isHit } = await this.#answer(request, start);
      const timeMs = performance.now() - start;
      this.#nSucceeded++;
      this.#totalMs += timeMs;
      if (!isHit) this.#nTokens += kept.nTokens;
      return {
        ...head,
        status: "success",
        response: kept.response,
        error: null,
        tokensGenerated: kept.nTokens,
        promptTokens: kept.nPrompt,
        isTruncated: kept.isTruncated,
        timeMs,
        tokensPerSecond: isHit ? 0 : kept.nTokens / (timeMs / 1000),
        cacheHit: isHit,
        seed: kept.seed,
      };
    } catch (thrown) {
      const timeMs = performance.now() - start;
      this.#nFailed++;
      this.#totalMs += timeMs;
      return {
        ...head,
        status: "error",
        response: "",
        error: describeError(thrown),
        tokensGenerated: 0,
        promptTokens: 0,
        isTruncated: false,
        timeMs,
        tokensPerSecond: 0,
        cacheHit: false,
        seed: null,
      };
    }
  }

  /** Answers all requests, in one batch as far as the limit allows; answers stand in the order of their requests. */
  generateBatch(requests: readonly InferenceRequest[]): Promise<InferenceResponse[]> {
    return Promise.all(requests.map((request) => this.generate(request)));
  }

  stats(): InferenceStats {
    const nDone = this.#nSucceeded + this.#nFailed;
    return {
      requests: this.#nRequests,
      succeeded: this.#nSucceeded,
      failed: this.#nFailed,
      successRate: nDone === 0 ? 1 : this.#nSucceeded / nDone,
      running: this.#nRunning,
      waiting: this.#waiting.length,
      totalTimeMs: this.#totalMs,
      averageTimeMs: nDone === 0 ? 0 : this.#totalMs / nDone,
      requestsPerSecond: nDone / ((performance.now() - this.#startedAt) / 1000),
      tokensGenerated: this.#nTokens,
      cache: this.#cache?.stats ?? null,
      engine: this.model.stats(),
    };
  }

  /** Generates ten tokens greedily, past the queue and the cache. Never rejects. */
  async health(): Promise<HealthReport> {
    return checkHealth(this.model, this.#limits.timeoutMs);
  }

  async #answer(request: InferenceRequest, start: number): Promise<{ kept: KeptAnswer; isHit: boolean }> {
    const { id: _, prompt, metadata: __, signal, ...given } = request;
    if (typeof prompt !== "string") throw new BitNetError("INVALID_ARGUMENT", "prompt: expected a text");
    const options = { maxTokens: this.#limits.maxTokens, ...given };
    const isDetermined = options.temperature === 0 || options.seed !== undefined;
    const key = isDetermined && this.#cache !== null ? keyOf(prompt, options) : null;
    const found = key === null ? undefined : this.#cache?.find(key);
    if (found !== undefined) return { kept: found, isHit: true };
    const timeLeft = this.#limits.timeoutMs - (performance.now() - start);
    const timeIsUp = AbortSignal.timeout(Math.max(0, Math.ceil(timeLeft)));
    const either = signal === undefined ? timeIsUp : AbortSignal.any([signal, timeIsUp]);
    await this.#enter(either);
    try {
      const { ids, isTruncated } = await this.#encode(prompt, either).catch((error: unknown) => {
        throw either.aborted ? abortError(timeIsUp, this.#limits.timeoutMs) : error;
      });
      const result = await this.model.generate(ids, { ...options, signal: either }).result;
      if (result.stopReason === "abort") throw abortError(timeIsUp, this.#limits.timeoutMs);
      const kept = {
        response: result.text,
        nTokens: result.ids.length,
        nPrompt: result.promptTokens,
        seed: result.seed,
        isTruncated,
      };
      if (key !== null)
        this.#cache?.keep(key, kept, { bytes: 2 * (key.length + kept.response.length) + 200 });
      return { kept, isHit: false };
    } finally {
      this.#leave();
    }
  }

  async #encode(prompt: string, signal: AbortSignal): Promise<{ ids: Int32Array; isTruncated: boolean }> {
    const { tokenizer, info } = this.model;
    const job = { kind: "text", text: prompt, bos: tokenizer.addBos, special: false } as const;
    const { ids } = await encodePrompt(this.model, job, signal);
    const most = Math.min(this.#limits.maxPromptTokens, info.contextLength - 1);
    if (ids.length <= most) return { ids, isTruncated: false };
    const cut = ids.slice(ids.length - most);
    const { bosId } = tokenizer;
    if (tokenizer.addBos && bosId !== null) cut[0] = bosId;
    return { ids: cut, isTruncated: true };
  }

  async #enter(signal: AbortSignal): Promise<void> {
    if (this.#nRunning < this.#limits.concurrency) {
      this.#nRunning++;
      return;
    }
    if (signal.aborted) throw abortError(signal, this.#limits.timeoutMs);
    await new Promise<void>((resolve, reject) => {
      const admit = () => {
        signal.removeEventListener("abort", giveUp);
        this.#nRunning++;
        resolve();
      };
      const giveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(admit), 1);
        reject(abortError(signal, this.#limits.timeoutMs));
      };
      this.#waiting.push(admit);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  #leave(): void {
    this.#nRunning--;
    this.#waiting.shift()?.();
  }
}

/** Whether a model answers: it generates ten tokens greedily, or embeds a text if it can do no more. Never rejects. */
export async function checkHealth(model: BitNet, timeoutMs: number): Promise<HealthReport> {
  const start = performance.now();
  const report = (tokensGenerated: number, error: string | null): HealthReport => ({
    status: error === null ? "healthy" : "unhealthy",
    responseTimeMs: performance.now() - start,
    tokensGenerated,
    error,
    model: model.info.name,
  });
  try {
    const { tokenizer } = model;
    const bos = tokenizer.bosId;
    const ids = [...(tokenizer.addBos && bos !== null ? [bos] : []), ...tokenizer.encode("Hello")];
    const signal = AbortSignal.timeout(timeoutMs);
    if (!model.info.canGenerate) {
      await model.embed([ids], { signal });
      return report(0, null);
    }
    const options = { maxTokens: 10, temperature: 0, ignoreEos: true, signal };
    const result = await model.generate(ids, options).result;
    if (result.stopReason === "abort") return report(result.ids.length, `no answer within ${timeoutMs} ms`);
    return report(result.ids.length, null);
  } catch (thrown) {
    return report(0, describeError(thrown).message);
  }
}

function describeError(thrown: unknown): { code: string; message: string } {
  if (thrown instanceof BitNetError) return { code: thrown.code, message: thrown.message };
  return { code: "INTERNAL", message: thrown instanceof Error ? thrown.message : String(thrown) };
}

function abortError(signal: AbortSignal, timeoutMs: number): BitNetError {
  const isLate = signal.aborted && (signal.reason as { name?: unknown } | null)?.name === "TimeoutError";
  return new BitNetError(
    "ABORTED",
    isLate ? `the request took longer than ${timeoutMs} ms` : "the request was aborted",
  );
}

/** Names in order, so that equal requests have equal keys. */
function keyOf(prompt: string, options: object): string {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([prompt, entries], (_, value: unknown) =>
    value instanceof Map ? [...value] : value,
  );
}
