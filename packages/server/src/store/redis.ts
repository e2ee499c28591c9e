/**
 * The connection to Redis (or Valkey). It may be lost and come back at any time: whoever asks gets `undefined` meanwhile and goes on
 * without it. Knows nothing of what is kept there.
 */
import { BitNetError } from "@bitnet.ts/core";
import type { Redis } from "ioredis";

const connectMs = 2000;
const commandMs = 1000;
const longestPauseMs = 2000;

export interface RedisLink {
  readonly isUp: boolean;
  /** @returns undefined when Redis cannot be reached or refuses. */
  ask<T>(act: (redis: Redis) => Promise<T>): Promise<T | undefined>;
  close(): void;
}

/**
 * Connects; when nobody answers, goes on trying.
 * @param url `redis://[user:password@]host[:port][/database]`, `rediss://…`, or the path of a socket.
 * @throws BitNetError INVALID_ARGUMENT without the client's package, for a URL that is none, or for a server that throws keys away.
 */
export async function openRedis(url: string, log: (line: string) => void): Promise<RedisLink> {
  if (!/^(rediss?:\/\/|\/)/.test(url))
    throw new BitNetError(
      "INVALID_ARGUMENT",
      "--redis: expected redis://host:port, rediss://… or the path of a socket",
    );
  const redis = await createClient(url);
  let isUp = false;
  const note = (now: boolean, why: string) => {
    if (now === isUp) return;
    isUp = now;
    log(now ? "redis: connected" : `redis: lost (${why}); limits are this server's own, batches pause`);
  };
  redis.on("ready", () => note(true, ""));
  redis.on("close", () => note(false, "connection closed"));
  redis.on("error", () => {}); // every failure reaches the one who asked
  await Promise.race([
    redis.connect().catch(() => {}),
    new Promise((go) => setTimeout(go, connectMs).unref()),
  ]);
  if (redis.status === "ready") await checkPolicy(redis);
  else log("redis: nobody answers yet; the server goes on without it and keeps trying");
  return {
    get isUp() {
      return redis.status === "ready";
    },
    async ask(act) {
      if (redis.status !== "ready") return undefined;
      try {
        return await act(redis);
      } catch (error) {
        if (redis.status === "ready")
          log(`redis: ${error instanceof Error ? error.message.slice(0, 200) : ""}`);
        return undefined;
      }
    },
    close: () => redis.disconnect(),
  };
}

async function createClient(url: string): Promise<Redis> {
  let module: Pick<typeof import("ioredis"), "Redis">;
  try {
    module = await import("ioredis");
  } catch (cause) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      '--redis needs the package "ioredis": install it beside the server',
      {
        cause,
      },
    );
  }
  return new module.Redis(url, {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: connectMs,
    commandTimeout: commandMs,
    keyPrefix: "bitnet:",
    retryStrategy: (attempt: number) => Math.min(longestPauseMs, 50 * 2 ** Math.min(attempt, 6)),
  });
}

/** A server that evicts keys would forget leases and limits under load. */
async function checkPolicy(redis: Redis): Promise<void> {
  const answer: unknown = await redis.config("GET", "maxmemory-policy").catch(() => null);
  const policy = Array.isArray(answer) ? String(answer[1]) : null; // managed servers may not tell
  if (policy === null || policy === "noeviction") return;
  redis.disconnect();
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `--redis: the server's maxmemory-policy is ${policy}, which throws keys away that are needed; set it to noeviction`,
  );
}
