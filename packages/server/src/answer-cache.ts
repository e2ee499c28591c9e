/**
 * Keeps answers that greedy sampling or a seed determines, for requests that are equal in everything: tenant, model, prompt, every parameter.
 * Only answers that were finished get here.
 */
import { createHash } from "node:crypto";
import { BoundedCache, type CacheStats } from "@bitnet.ts/core";
import type { AnswerPlan } from "./answer-plan.ts";
import type { CacheSettings } from "./cache-settings.ts";
import { decodeAnswer, encodeAnswer, type KeptAnswer } from "./kept-answer.ts";

/** What is to be known of a request beside its plan. */
export interface KeyedRequest {
  readonly tenant: string;
  /** Of the model. */
  readonly identity: string;
  /** The header of that name. */
  readonly cacheControl: string | undefined;
}

/** Where servers keep answers together, as texts. */
export interface SharedCache {
  /** Undefined: there is none, or nobody can tell now. */
  find(key: string): Promise<string | undefined>;
  keep(key: string, text: string): void;
}

export class AnswerCache {
  readonly #answers: BoundedCache<KeptAnswer>;
  readonly #isOn: boolean;
  readonly #shared: SharedCache | null;
  /** Found with other servers. */
  #nShared = 0;

  constructor(settings: CacheSettings, shared: SharedCache | null = null) {
    this.#answers = new BoundedCache(settings);
    this.#isOn = settings.maxBytes > 0;
    this.#shared = shared;
  }

  get stats(): CacheStats {
    const { hits, misses, ...stats } = this.#answers.stats;
    return { ...stats, hits: hits + this.#nShared, misses: misses - this.#nShared };
  }

  /** Null for an answer that nothing determines, and for clients that want a fresh one. */
  keyOf(request: KeyedRequest, plan: AnswerPlan): string | null {
    if (!this.#isOn || !isDetermined(plan)) return null;
    const isFresh = /\bno-(cache|store)\b/i.test(request.cacheControl ?? "");
    if (isFresh) return null;
    const { ids, options, form } = plan;
    // Greedy sampling asks no seed.
    const unread = options.temperature === 0 ? ["seed", "choice"] : [];
    const entries = Object.entries(options).filter(([name]) => !unread.includes(name));
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    const parameters = JSON.stringify([request.tenant, request.identity, form ?? null, entries], plain);
    return createHash("sha256")
      .update(parameters)
      .update("\0")
      .update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength))
      .digest("base64url");
  }

  /** @param tenant Whose it is. */
  async find(key: string, tenant: string): Promise<KeptAnswer | undefined> {
    const here = this.#answers.find(key);
    if (here !== undefined || this.#shared === null) return here;
    const text = await this.#shared.find(key);
    const answer = text === undefined ? undefined : decodeAnswer(text);
    if (answer === undefined) return undefined;
    this.#nShared++;
    this.#answers.keep(key, answer, { bytes: bytesOf(answer), owner: tenant });
    return answer;
  }

  keep(key: string, answer: KeptAnswer, tenant: string): void {
    this.#answers.keep(key, answer, { bytes: bytesOf(answer), owner: tenant });
    const text = this.#shared === null ? null : encodeAnswer(answer);
    if (text !== null) this.#shared?.keep(key, text);
  }
}

function isDetermined({ options, hasSeed }: AnswerPlan): boolean {
  return options.temperature === 0 || (hasSeed ?? options.seed !== undefined);
}

/** What JSON would lose. */
function plain(_name: string, value: unknown): unknown {
  if (value instanceof Map) return [...value];
  return value === Number.NEGATIVE_INFINITY ? "-Infinity" : value;
}

/** About what an answer takes in memory. */
function bytesOf({ pieces, result }: KeptAnswer): number {
  let bytes = 500 + 16 * (result.promptIds.length + result.ids.length);
  for (const { text, top } of pieces) bytes += 150 + 2 * text.length + 150 * (top?.length ?? 0);
  for (const reports of [result.logprobs, result.promptLogprobs])
    for (const report of reports ?? []) bytes += 150 * (1 + (report?.top.length ?? 0));
  return bytes;
}
