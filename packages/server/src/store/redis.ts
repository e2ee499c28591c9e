/**
 * The connection to Redis (or Valkey). It may be lost, stall and come back at any time: whoever asks gets `undefined` meanwhile and goes
 * on without it. One that stalls is asked nothing until it answers again, so that requests do not wait for it one after the other. Knows
 * nothing of what is kept there.
 */
import { BitNetError } from "@bitnet.ts/core";
import type { Redis } from "ioredis";

const connectMs = 2000;
const commandMs = 1000;
const longestPauseMs = 2000;
/** Between two looks at one that stalls, or throws keys away. */
const lookMs = 500;

export interface RedisLink {
  readonly isUp: boolean;
  /** @returns undefined when Redis cannot be reached or refuses. */
  ask<T>(act: (redis: Redis) => Promise<T>): Promise<T | undefined>;
  close(): void;
}

/**
 * Connects; when nobody answers, goes on trying.
 * @param url `redis://[user:password@]host[:port][/database]`, `rediss://…`, or the path of a socket.
 * @throws BitNetError INVALID_ARGUMENT without the client's package, for a URL that is none, or for a server that throws keys away;
 * ACCESS_DENIED for a password that it refuses or misses, IO_FAILED for a certificate that does not hold.
 */
export async function openRedis(url: string, log: (line: string) => void): Promise<RedisLink> {
  // What was given is not repeated: it may hold a password.
  if (!/^(rediss?:\/\/|\/)/.test(url) || (!url.startsWith("/") && !URL.canParse(url)))
    throw new BitNetError(
      "INVALID_ARGUMENT",
      "--redis: expected redis://host:port, rediss://… or the path of a socket",
    );
  const redis = await createClient(url);
  const link = new Link(redis, log);
  await Promise.race([
    redis.connect().catch(() => {}),
    new Promise((go) => setTimeout(go, connectMs).unref()),
  ]);
  if (link.fault !== null) {
    link.close();
    throw link.fault;
  }
  if (redis.status !== "ready")
    log("redis: nobody answers yet; the server goes on without it and keeps trying");
  const policy = await link.accepted();
  link.isOpened = true;
  if (policy === null) return link;
  link.close();
  throw new BitNetError("INVALID_ARGUMENT", `--redis: ${refusal(policy)}`);
}

class Link implements RedisLink {
  readonly #redis: Redis;
  readonly #log: (line: string) => void;
  #wasUp = false;
  /** Connected, and not known to throw keys away. */
  #isAccepted = false;
  #isStalled = false;
  /** The last refusal that was logged: a full Redis refuses thousands of times. */
  #refusal = "";
  /** Whoever opened it has got it: faults are said here from now on. */
  isOpened = false;
  /** What only its operator can mend. */
  #fault: BitNetError | null = null;
  #accepting: Promise<string | null> = Promise.resolve(null);
  #timer: NodeJS.Timeout | undefined;

  constructor(redis: Redis, log: (line: string) => void) {
    this.#redis = redis;
    this.#log = log;
    redis.on("ready", () => {
      this.#fault = null;
      this.#accepting = this.#accept();
    });
    redis.on("close", () => {
      this.#isAccepted = false;
      this.#isStalled = false;
      this.#note(false, "connection closed");
    });
    // Other failures reach the one who asked.
    redis.on("error", (error: Error) => {
      const fault = faultOf(error);
      const isNew = fault !== null && fault.message !== this.#fault?.message;
      if (isNew && this.isOpened) log(`redis: ${fault.message}`);
      this.#fault = fault ?? this.#fault;
    });
  }

  get fault(): BitNetError | null {
    return this.#fault;
  }

  get isUp(): boolean {
    return this.#redis.status === "ready" && this.#isAccepted && !this.#isStalled;
  }

  /** The policy for which the server must not be used; null: it may be, or nobody has answered yet. */
  accepted(): Promise<string | null> {
    return this.#accepting;
  }

  async ask<T>(act: (redis: Redis) => Promise<T>): Promise<T | undefined> {
    if (!this.isUp) return undefined;
    try {
      const answer = await act(this.#redis);
      this.#refusal = "";
      return answer;
    } catch (error) {
      const message = error instanceof Error ? error.message.slice(0, 200) : "";
      if (message === "Command timed out") this.#stall();
      else if (this.#redis.status === "ready" && message !== this.#refusal) {
        this.#refusal = message;
        this.#log(`redis: ${message}`);
      }
      return undefined;
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#redis.disconnect();
  }

  #note(now: boolean, why: string): void {
    if (now === this.#wasUp) return;
    this.#wasUp = now;
    this.#log(now ? "redis: connected" : `redis: lost (${why}); limits are this server's own, batches pause`);
  }

  /** A server that evicts keys would forget leases, keys and limits under load: it is not used, and looked at again. */
  async #accept(): Promise<string | null> {
    const policy = await evictionPolicy(this.#redis);
    if (policy === null) {
      this.#isAccepted = true;
      this.#note(true, "");
      return null;
    }
    if (this.#refusal !== policy) this.#log(`redis: not used: ${refusal(policy)}`);
    this.#refusal = policy;
    this.#later(() => {
      if (this.#redis.status === "ready") this.#accepting = this.#accept();
    });
    return policy;
  }

  #stall(): void {
    if (this.#isStalled) return;
    this.#isStalled = true;
    this.#note(false, `no answer within ${commandMs} ms`);
    const look = () => {
      if (!this.#isStalled) return; // the connection has been lost meanwhile
      this.#redis.ping().then(
        () => {
          this.#isStalled = false;
          this.#note(true, "");
        },
        () => this.#later(look),
      );
    };
    look();
  }

  #later(act: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, lookMs);
    this.#timer.unref();
  }
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

/** Null for what may pass by itself. Messages of Redis and of TLS hold no password. */
function faultOf(error: Error): BitNetError | null {
  if (/^(WRONGPASS|NOAUTH|ERR invalid password|ERR AUTH)/.test(error.message))
    return new BitNetError(
      "ACCESS_DENIED",
      "--redis: the server refuses the password, or wants one; name the file that holds it with --redis-password-file",
    );
  const { code = "" } = error as NodeJS.ErrnoException;
  if (!/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|EPROTO)/.test(code)) return null;
  return new BitNetError(
    "IO_FAILED",
    `--redis: no TLS with the server (${code}); NODE_EXTRA_CA_CERTS names the file of an authority of your own`,
  );
}

/** By which keys are thrown away; null: none are, or the server does not tell, as managed ones may not. */
async function evictionPolicy(redis: Redis): Promise<string | null> {
  const answer: unknown = await redis.config("GET", "maxmemory-policy").catch(() => null);
  const policy = Array.isArray(answer) ? String(answer[1]) : "noeviction";
  return policy === "noeviction" ? null : policy;
}

function refusal(policy: string): string {
  return `the server's maxmemory-policy is ${policy}, which throws keys away that are needed; set it to noeviction`;
}
