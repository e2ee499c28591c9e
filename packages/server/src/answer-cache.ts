/**
 * Keeps answers that greedy sampling or a seed determines, for requests that are equal in everything: tenant, model, prompt, every parameter.
 * Only answers that were finished get here.
 */
import { createHash } from "node:crypto";
import { BoundedCache, type CacheStats } from "@bitnet.ts/core";
import type { GenerationResult, TokenPiece } from "bitnet.ts";
import type { AnswerPlan } from "./answer-plan.ts";
import type { CacheSettings } from "./cache-settings.ts";

/** What is to be known of a request beside its plan. */
export interface KeyedRequest {
  readonly tenant: string;
  /** Of the model. */
  readonly identity: string;
  /** The header of that name. */
  readonly cacheControl: string | undefined;
}

export interface KeptAnswer {
  readonly pieces: readonly TokenPiece[];
  readonly result: GenerationResult;
}

export class AnswerCache {
  readonly #answers: BoundedCache<KeptAnswer>;
  readonly #isOn: boolean;

  constructor(settings: CacheSettings) {
    this.#answers = new BoundedCache(settings);
    this.#isOn = settings.maxBytes > 0;
  }

  get stats(): CacheStats {
    return this.#answers.stats;
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

  find(key: string): KeptAnswer | undefined {
    return this.#answers.find(key);
  }

  keep(key: string, answer: KeptAnswer): void {
    this.#answers.keep(key, answer, bytesOf(answer));
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
