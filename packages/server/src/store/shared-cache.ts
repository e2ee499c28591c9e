/**
 * Answers for equal requests, kept in Redis for all servers: bounded by bytes and age as the cache of one server is, what has rested
 * longest goes first. Redis itself must not throw keys away, so that the bound is a script's. Knows nothing of what it keeps.
 */
import type { SharedCache } from "../answer-cache.ts";
import type { CacheSettings } from "../cache-settings.ts";
import type { RedisLink } from "./redis.ts";

/** Larger ones stay where they are: Redis has one thread. */
const maxCharacters = 1 << 20;
/** What an entry takes beside its text. */
const entryBytes = 256;

/** KEYS: texts, last uses, bytes. ARGV: entry, text, most bytes, longest age. Texts begin with the time they were kept. */
const keepScript = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bytes = tonumber(redis.call("GET", KEYS[3]) or "0")
local function drop(entry)
  bytes = bytes - redis.call("HSTRLEN", KEYS[1], entry) - ${entryBytes}
  redis.call("HDEL", KEYS[1], entry)
  redis.call("ZREM", KEYS[2], entry)
end
if redis.call("HEXISTS", KEYS[1], ARGV[1]) == 1 then drop(ARGV[1]) end
local text = string.format("%.0f", now) .. " " .. ARGV[2]
redis.call("HSET", KEYS[1], ARGV[1], text)
redis.call("ZADD", KEYS[2], now, ARGV[1])
bytes = bytes + #text + ${entryBytes}
for _, entry in ipairs(redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", now - ARGV[4], "LIMIT", 0, 100)) do drop(entry) end
while bytes > tonumber(ARGV[3]) do
  local oldest = redis.call("ZRANGE", KEYS[2], 0, 0)[1]
  if not oldest then break end
  drop(oldest)
end
redis.call("SET", KEYS[3], string.format("%.0f", bytes))
for _, key in ipairs(KEYS) do redis.call("PEXPIRE", key, ARGV[4]) end
return 0`;

/** KEYS: texts, last uses. ARGV: entry, longest age. */
const findScript = `
local text = redis.call("HGET", KEYS[1], ARGV[1])
if not text then return false end
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local space = string.find(text, " ", 1, true)
if now - tonumber(string.sub(text, 1, space - 1)) >= tonumber(ARGV[2]) then return false end
redis.call("ZADD", KEYS[2], "XX", now, ARGV[1])
return string.sub(text, space + 1)`;

/** @param version Of the program: another one may keep something else under the same name. */
export function createSharedCache(link: RedisLink, settings: CacheSettings, version: string): SharedCache {
  const keys = ["texts", "uses", "bytes"].map((part) => `cache:${version}:${part}`) as [
    string,
    string,
    string,
  ];
  const { maxBytes, maxAgeMs } = settings;
  return {
    async find(entry) {
      const text = await link.ask((redis) => redis.eval(findScript, 2, keys[0], keys[1], entry, maxAgeMs));
      return typeof text === "string" ? text : undefined;
    },
    keep(entry, text) {
      if (text.length > Math.min(maxCharacters, maxBytes)) return;
      void link.ask((redis) => redis.eval(keepScript, 3, ...keys, entry, text, maxBytes, maxAgeMs));
    },
  };
}
