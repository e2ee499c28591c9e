/**
 * Limits of a client that several servers keep together: a sliding minute of seconds for requests and for tokens, and the requests that
 * are open. Each decision is one script, so that no two servers can both take the last place.
 */
import { createHash, randomUUID } from "node:crypto";
import type { RedisLink } from "./redis.ts";

/** Undefined: nobody can tell now, and the server decides by itself. */
type Verdict = { readonly waitSeconds: number; readonly left: number } | undefined;

export interface SharedLimits {
  /** Counts a request. @returns With `waitSeconds` above 0, it was not counted. */
  countRequest(client: string, limit: number): Promise<Verdict>;
  /** @returns Also when it was counted, to give back what was not used. */
  reserveTokens(
    client: string,
    amount: number,
    limit: number,
  ): Promise<{ readonly verdict: Verdict; giveBack(amount: number): void }>;
  /** Null: there are as many as allowed. */
  enter(client: string, limit: number): Promise<{ leave(): void } | null | undefined>;
  close(): void;
}

/** A place whose holder says nothing for so long is free again. */
const placeSeconds = 60;
const touchMs = 15_000;

/** KEYS: window. ARGV: amount, limit. Returns {wait, left, second}; fields are seconds. */
const takeScript = `
local now = tonumber(redis.call("TIME")[1])
local amount, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local all = redis.call("HGETALL", KEYS[1])
local sum, spent = 0, {}
for i = 1, #all, 2 do
  local second = tonumber(all[i])
  if second <= now - 60 then redis.call("HDEL", KEYS[1], all[i])
  else sum = sum + tonumber(all[i + 1]); spent[second] = tonumber(all[i + 1]) end
end
if sum + amount <= limit then
  redis.call("HINCRBY", KEYS[1], now, amount)
  redis.call("EXPIRE", KEYS[1], 61)
  return {0, limit - sum - amount, now}
end
local left = sum
for second = now - 59, now do
  left = left - (spent[second] or 0)
  if left + amount <= limit then return {second + 60 - now, math.max(0, limit - sum), now} end
end
return {60, math.max(0, limit - sum), now}`;

/** KEYS: window. ARGV: second, amount. What has left the window is not given back. */
const giveBackScript = `
if redis.call("HEXISTS", KEYS[1], ARGV[1]) == 1 then redis.call("HINCRBY", KEYS[1], ARGV[1], -tonumber(ARGV[2])) end
return 0`;

/** KEYS: places. ARGV: own name, limit, seconds. */
const enterScript = `
local now = tonumber(redis.call("TIME")[1])
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now)
if redis.call("ZCARD", KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call("ZADD", KEYS[1], now + ARGV[3], ARGV[1])
redis.call("EXPIRE", KEYS[1], ARGV[3] + 1)
return 1`;

/** KEYS: places. ARGV: own name, seconds. */
const touchScript = `
redis.call("ZADD", KEYS[1], redis.call("TIME")[1] + ARGV[2], ARGV[1])
redis.call("EXPIRE", KEYS[1], ARGV[2] + 1)
return 0`;

export function createSharedLimits(link: RedisLink): SharedLimits {
  const places = new Map<string, string>();
  const timer = setInterval(() => {
    for (const [name, key] of places)
      void link.ask((redis) => redis.eval(touchScript, 1, key, name, placeSeconds));
  }, touchMs);
  timer.unref();
  const take = async (key: string, amount: number, limit: number) => {
    const answer = await link.ask((redis) => redis.eval(takeScript, 1, key, amount, limit));
    if (!Array.isArray(answer)) return undefined;
    const [waitSeconds, left, second] = answer.map(Number);
    return { waitSeconds: waitSeconds ?? 0, left: left ?? 0, second: second ?? 0 };
  };
  return {
    countRequest: (client, limit) => take(keyOf("requests", client), 1, limit),
    async reserveTokens(client, amount, limit) {
      const key = keyOf("tokens", client);
      const verdict = await take(key, amount, limit);
      return {
        verdict,
        giveBack(unused) {
          if (verdict === undefined || verdict.waitSeconds > 0 || unused <= 0) return;
          void link.ask((redis) => redis.eval(giveBackScript, 1, key, verdict.second, unused));
        },
      };
    },
    async enter(client, limit) {
      const key = keyOf("places", client);
      const name = randomUUID();
      const answer = await link.ask((redis) => redis.eval(enterScript, 1, key, name, limit, placeSeconds));
      if (answer === undefined) return undefined;
      if (answer !== 1) return null;
      places.set(name, key);
      return {
        leave() {
          if (places.delete(name)) void link.ask((redis) => redis.zrem(key, name));
        },
      };
    },
    close: () => clearInterval(timer),
  };
}

/** Addresses of clients are not written down. */
function keyOf(what: string, client: string): string {
  return `limit:${what}:${createHash("sha256").update(client).digest("hex").slice(0, 32)}`;
}
