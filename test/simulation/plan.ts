/** What a seed stands for: the machine, the settings, the clients and their requests. Plain data. */
import type { GenerateOptions } from "@bitnet.ts/core";
import type { KeyLimits } from "#server/key-store.ts";
import { type BackendPlan, poison, tokensOf, vocabSize } from "./backend.ts";
import { Chance } from "./chance.ts";
import { planReader, type ReaderPlan } from "./socket.ts";

export interface RequestPlan {
  atMs: number;
  client: number;
  prompt: number[];
  bytes: number;
  n: number;
  isStream: boolean;
  /** Work that has time, such as a line of a batch. */
  isBackground: boolean;
  options: GenerateOptions & { maxTokens: number; seed: number };
  reader: ReaderPlan;
}

export interface Plan {
  backend: BackendPlan;
  scheduler: { prefillChunk: number; prefillChunkWhileDecoding: number; maxUnread: number };
  server: {
    parallel: number;
    maxQueued: number;
    maxQueuedBytes: number;
    queueTimeoutMs: number;
    timeoutMs: number;
    stallMs: number;
    drainMs: number;
  };
  clients: { limits: KeyLimits; tenant: string }[];
  requests: RequestPlan[];
  /** When the server is told to end; null: not before all is done. */
  drainAtMs: number | null;
  clearCacheAtMs: number[];
}

export function planOf(seed: number): Plan {
  const chance = new Chance(seed);
  const nPages = chance.int(3, 24);
  const contextLength = Math.min(chance.int(64, 160), tokensOf(nPages));
  const spanMs = chance.one(200, 1500, 5000, 90_000);
  const stems = Array.from({ length: 3 }, () => tokens(chance, chance.int(1, contextLength - 24)));
  const nClients = chance.int(1, 3);
  return {
    backend: { nPages, maxRows: chance.int(2, 40), contextLength, faultEvery: chance.one(0, 0, 20, 60) },
    scheduler: {
      prefillChunk: chance.int(3, 64),
      prefillChunkWhileDecoding: chance.int(1, 32),
      maxUnread: chance.int(1, 12),
    },
    server: {
      parallel: chance.int(1, 5),
      maxQueued: chance.int(0, 6),
      maxQueuedBytes: chance.int(200, 2000),
      queueTimeoutMs: chance.int(50, 4000),
      timeoutMs: chance.int(300, 30_000),
      stallMs: chance.int(100, 2000),
      drainMs: chance.int(100, 3000),
    },
    clients: Array.from({ length: nClients }, (_, i) => ({ limits: limits(chance), tenant: `tenant ${i}` })),
    requests: Array.from({ length: chance.int(3, 12) }, () =>
      request(chance, { stems, contextLength, nClients, spanMs }),
    ),
    drainAtMs: chance.oneIn(4) ? chance.int(1, spanMs) : null,
    clearCacheAtMs: chance.oneIn(3) ? [chance.int(1, spanMs)] : [],
  };
}

function limits(chance: Chance): KeyLimits {
  return {
    ...(chance.oneIn(3) ? { requestsPerMinute: chance.int(1, 6) } : {}),
    ...(chance.oneIn(3) ? { tokensPerMinute: chance.int(60, 600) } : {}),
    ...(chance.oneIn(3) ? { concurrent: chance.int(1, 3) } : {}),
  };
}

function request(
  chance: Chance,
  about: { stems: number[][]; contextLength: number; nClients: number; spanMs: number },
): RequestPlan {
  const isPoisoned = chance.oneIn(25);
  const stem = chance.one(...about.stems);
  const own = tokens(chance, chance.int(0, 16));
  const prompt = [...stem.slice(0, chance.int(1, stem.length)), ...own, ...(isPoisoned ? [poison] : [])];
  const isSampled = chance.oneIn(2);
  return {
    atMs: chance.int(0, about.spanMs),
    client: chance.int(0, about.nClients - 1),
    prompt: prompt.slice(-about.contextLength),
    bytes: prompt.length * 4,
    n: chance.one(1, 1, 1, 2, 3),
    isStream: !chance.oneIn(3),
    isBackground: chance.oneIn(6),
    options: {
      maxTokens: chance.int(1, 24),
      seed: chance.int(0, 2 ** 31 - 1),
      temperature: isSampled ? 0.8 : 0,
      topP: chance.one(1, 1, 1, 0.9),
      repeatPenalty: chance.one(1, 1, 1.1),
    },
    reader: planReader(chance),
  };
}

function tokens(chance: Chance, n: number): number[] {
  return Array.from({ length: n }, () => chance.int(0, vocabSize - 2));
}
