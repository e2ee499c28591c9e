/**
 * Leases that several servers share: a key that its holder renews and that vanishes when it does not. A holder that cannot renew takes
 * the lease for lost before anybody else can have it.
 */
import { randomUUID } from "node:crypto";
import type { Held, Leases } from "./leases.ts";
import type { RedisLink } from "./redis.ts";

const renewScript =
  'if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("PEXPIRE", KEYS[1], ARGV[2]) end return 0';
const releaseScript =
  'if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0';

/** @param leaseMs How long a holder that says nothing keeps its lease. */
export function createRedisLeases(link: RedisLink, leaseMs: number): Leases {
  const renewMs = leaseMs / 4;
  // Earlier than the key vanishes, whatever the clocks do in between.
  const trustedMs = (leaseMs * 2) / 3;
  return {
    async acquire(name): Promise<Held | null> {
      const key = `lease:${name}`;
      const token = randomUUID();
      const asked = performance.now();
      const answer = await link.ask((redis) => redis.set(key, token, "PX", leaseMs, "NX"));
      if (answer !== "OK") return null;
      let renewedAt = asked;
      let isGone = false;
      const timer = setInterval(async () => {
        const now = performance.now();
        const kept = await link.ask((redis) => redis.eval(renewScript, 1, key, token, leaseMs));
        if (kept === 1) renewedAt = now;
        else if (kept === 0) isGone = true;
      }, renewMs);
      timer.unref();
      return {
        mayBeStale: true,
        get isLost() {
          return isGone || performance.now() - renewedAt > trustedMs;
        },
        async release() {
          clearInterval(timer);
          isGone = true;
          await link.ask((redis) => redis.eval(releaseScript, 1, key, token));
        },
      };
    },
  };
}
