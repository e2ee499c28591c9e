/** All that several servers share through Redis. */
import type { SharedCache } from "../answer-cache.ts";
import type { SharedAnswers } from "../answer-store.ts";
import type { CacheSettings } from "../cache-settings.ts";
import type { Leases } from "./leases.ts";
import { openRedis, type RedisLink } from "./redis.ts";
import { createRedisLeases } from "./redis-leases.ts";
import { createSharedAnswers } from "./shared-answers.ts";
import { createSharedCache } from "./shared-cache.ts";
import { createSharedLimits, type SharedLimits } from "./shared-limits.ts";

export interface Shared {
  readonly link: RedisLink;
  readonly leases: Leases;
  readonly limits: SharedLimits;
  readonly answers: SharedAnswers;
  readonly cache: SharedCache;
  close(): void;
}

/** @param version Of the program. */
export async function openShared(
  url: string,
  {
    cache,
    leaseMs,
    version,
    log,
  }: { cache: CacheSettings; leaseMs: number; version: string; log: (line: string) => void },
): Promise<Shared> {
  const link = await openRedis(url, log);
  const limits = createSharedLimits(link);
  return {
    link,
    leases: createRedisLeases(link, leaseMs),
    limits,
    answers: createSharedAnswers(link),
    cache: createSharedCache(link, cache, version),
    close() {
      limits.close();
      link.close();
    },
  };
}
