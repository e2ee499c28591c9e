/** Where the keys of a server are: in a file, or in the Redis that servers share. */
import { BitNetError } from "@bitnet.ts/core";
import { fileKeys, type KeyStore } from "../key-store.ts";
import { openRedis, type RedisLink } from "./redis.ts";
import { createRedisKeys, warnOfForgetting } from "./redis-keys.ts";

/** Stands where the name of a file may: the keys are in Redis. */
const keysInRedis = "redis:";

export async function serverKeys(
  place: string,
  link: RedisLink | null,
  log: (line: string) => void,
): Promise<KeyStore> {
  if (place !== keysInRedis) return fileKeys(place);
  if (link === null) throw withoutUrl();
  await warnOfForgetting(link, log);
  return createRedisKeys(link, log);
}

/** For those who make keys: a store of their own, to be closed. */
export async function openKeys(
  place: string,
  redis: string | null,
  log: (line: string) => void,
): Promise<KeyStore & { close(): void }> {
  if (place !== keysInRedis) return { ...fileKeys(place), close() {} };
  if (redis === null) throw withoutUrl();
  const link = await openRedis(redis, () => {});
  await warnOfForgetting(link, log);
  return { ...createRedisKeys(link, log), close: () => link.close() };
}

function withoutUrl(): BitNetError {
  return new BitNetError("INVALID_ARGUMENT", `--keys ${keysInRedis} needs --redis, where the keys are`);
}
