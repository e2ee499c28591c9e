/**
 * API keys in Redis, for all servers: their records (hashes, not keys) and a mark that changes whenever they do. Its first word is that of
 * the memory of this Redis: another one, or none, where it has lost it. Ids of revoked keys stay, so that no server puts them back.
 */
import { randomUUID } from "node:crypto";
import { BitNetError } from "@bitnet.ts/core";
import { type KeyRecord, type KeyStore, parseKeys } from "../key-store.ts";
import type { RedisLink } from "./redis.ts";

const names = ["keys", "keys:mark", "keys:revoked"] as const;

/** In scripts: KEYS are records, mark, revoked; ARGV[1] is a new word. */
const changeMark = `
local mark = redis.call("GET", KEYS[2])
local memory = mark and string.match(mark, "^%S+") or ARGV[1]
redis.call("SET", KEYS[2], memory .. " " .. ARGV[1])`;

/** ARGV: word, id, record. */
const addScript = `
redis.call("HSET", KEYS[1], ARGV[2], ARGV[3])
${changeMark}
return 1`;

/** ARGV: word, id. One that is not there may be about to be put back. */
const removeScript = `
redis.call("SADD", KEYS[3], ARGV[2])
if redis.call("HDEL", KEYS[1], ARGV[2]) == 0 then return 0 end
${changeMark}
return 1`;

/** ARGV: word, then ids and records. Returns how many were missing. */
const restoreScript = `
local missing = 0
for i = 2, #ARGV, 2 do
  if redis.call("SISMEMBER", KEYS[3], ARGV[i]) == 0 then missing = missing + redis.call("HSETNX", KEYS[1], ARGV[i], ARGV[i + 1]) end
end
if missing > 0 or redis.call("EXISTS", KEYS[2]) == 0 then
${changeMark}
end
return missing`;

export function createRedisKeys(link: RedisLink, log: (line: string) => void): KeyStore {
  const name = "the keys in Redis";
  const ask = async <T>(act: Parameters<typeof link.ask<T>>[0]): Promise<T> => {
    const answer = await link.ask(act);
    if (answer === undefined)
      throw new BitNetError("IO_FAILED", `${name}: Redis does not answer; start it, or name another one`);
    return answer;
  };
  return {
    name,
    async stamp() {
      const answer = await link.ask((redis) => redis.get(names[1]));
      return answer === undefined ? null : (answer ?? "");
    },
    async read() {
      const all = await ask((redis) => redis.hgetall(names[0]));
      return parseKeys(`{"keys":[${Object.values(all).join(",")}]}`, name).toSorted((a, b) =>
        a.createdAt < b.createdAt ? -1 : 1,
      );
    },
    hasForgotten: (before, now) => memoryOf(before) !== memoryOf(now),
    async add(record) {
      await ask((redis) =>
        redis.eval(addScript, 3, ...names, randomUUID(), record.id, JSON.stringify(record)),
      );
    },
    async remove(id) {
      return (await ask((redis) => redis.eval(removeScript, 3, ...names, randomUUID(), id))) === 1;
    },
    async restore(known: readonly KeyRecord[]) {
      const pairs = known.flatMap((record) => [record.id, JSON.stringify(record)]);
      const restored = await link.ask((redis) =>
        redis.eval(restoreScript, 3, ...names, randomUUID(), ...pairs),
      );
      if (restored !== undefined && Number(restored) > 0)
        log(`keys: Redis has lost its memory; ${Number(restored)} that this server knows are there again`);
    },
  };
}

/** Says so when Redis would forget the keys as soon as it ends. */
export async function warnOfForgetting(link: RedisLink, log: (line: string) => void): Promise<void> {
  const answers = await link.ask((redis) =>
    Promise.all([redis.config("GET", "save"), redis.config("GET", "appendonly")]),
  );
  if (answers === undefined) return; // managed servers may not tell
  const [save, appendOnly] = answers.map((answer) => String((answer as unknown[])[1] ?? ""));
  if (save === "" && appendOnly === "no")
    log("keys: this Redis keeps nothing on disk, and forgets the keys when it ends; set appendonly to yes");
}

function memoryOf(stamp: string): string {
  return stamp.split(" ", 1)[0] ?? "";
}
