/** All that several servers share through Redis. */
import type { SharedAnswers } from "../answer-store.ts";
import type { Leases } from "./leases.ts";
import { openRedis, type RedisLink } from "./redis.ts";
import { createRedisLeases } from "./redis-leases.ts";
import { createSharedAnswers } from "./shared-answers.ts";
import { createSharedLimits, type SharedLimits } from "./shared-limits.ts";

export interface Shared {
  readonly link: RedisLink;
  readonly leases: Leases;
  readonly limits: SharedLimits;
  readonly answers: SharedAnswers;
  close(): void;
}

export async function openShared(url: string, log: (line: string) => void): Promise<Shared> {
  const link = await openRedis(url, log);
  const limits = createSharedLimits(link);
  return {
    link,
    leases: createRedisLeases(link),
    limits,
    answers: createSharedAnswers(link),
    close() {
      limits.close();
      link.close();
    },
  };
}
