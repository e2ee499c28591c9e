/**
 * API keys in Redis, for all servers: their records (hashes, not keys) and a mark that changes whenever they do. The mark is missing only
 * where Redis has never had keys, or has lost its memory.
 */
import { randomUUID } from "node:crypto";
import { BitNetError } from "@bitnet.ts/core";
import { type KeyRecord, type KeyStore, parseKeys } from "../key-store.ts";
import type { RedisLink } from "./redis.ts";

const records = "keys";
const mark = "keys:mark";

/** KEYS: records, mark. ARGV: new mark, id, record. */
const addScript = `
redis.call("HSET", KEYS[1], ARGV[2], ARGV[3])
redis.call("SET", KEYS[2], ARGV[1])
return 1`;

/** KEYS: records, mark. ARGV: new mark, id. */
const removeScript = `
if redis.call("HDEL", KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call("SET", KEYS[2], ARGV[1])
return 1`;

/** KEYS: records, mark. ARGV: new mark, then ids and records. Whoever comes second finds a mark. */
const restoreScript = `
if redis.call("EXISTS", KEYS[2]) == 1 then return 0 end
for i = 2, #ARGV, 2 do redis.call("HSET", KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call("SET", KEYS[2], ARGV[1])
return 1`;

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
      const answer = await link.ask((redis) => redis.get(mark));
      return answer === undefined ? null : (answer ?? "");
    },
    async read() {
      const all = await ask((redis) => redis.hgetall(records));
      return parseKeys(`{"keys":[${Object.values(all).join(",")}]}`, name).toSorted((a, b) =>
        a.createdAt < b.createdAt ? -1 : 1,
      );
    },
    async add(record) {
      await ask((redis) =>
        redis.eval(addScript, 2, records, mark, randomUUID(), record.id, JSON.stringify(record)),
      );
    },
    async remove(id) {
      return (await ask((redis) => redis.eval(removeScript, 2, records, mark, randomUUID(), id))) === 1;
    },
    async restore(known: readonly KeyRecord[]) {
      const pairs = known.flatMap((record) => [record.id, JSON.stringify(record)]);
      const restored = await link.ask((redis) =>
        redis.eval(restoreScript, 2, records, mark, randomUUID(), ...pairs),
      );
      if (restored === 1)
        log(`keys: Redis has lost its memory; the ${known.length} that this server knows are there again`);
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
