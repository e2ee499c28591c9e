/**
 * A Redis that delays, stalls, refuses, is away and forgets, as far as the server's keys, leases and shared answers ask it: its own scripts,
 * written down again for a simulated clock. What the scripts do in a real Redis is tested with a real one.
 */
import type { RedisLink } from "#server/store/redis.ts";
import type { Chance } from "./chance.ts";
import type { SimulatedClock } from "./clock.ts";

type Redis = Parameters<Parameters<RedisLink["ask"]>[0]>[0];

/** As the link has it. */
const commandMs = 1000;

export class SimulatedRedis {
  readonly #clock: SimulatedClock;
  readonly #chance: Chance;
  #texts = new Map<string, { text: string; until: number }>();
  #hashes = new Map<string, Map<string, string>>();
  isAway = false;
  /** One answer about leases in so many is a lie; 0: none. */
  lieEvery = 0;

  constructor(clock: SimulatedClock, chance: Chance) {
    this.#clock = clock;
    this.#chance = chance;
  }

  forget(): void {
    this.#texts.clear();
    this.#hashes.clear();
  }

  /** The connection of one server. */
  link(): RedisLink {
    const isUp = () => !this.isAway;
    return {
      get isUp() {
        return isUp();
      },
      ask: async <T>(act: (redis: Redis) => Promise<T>): Promise<T | undefined> => {
        if (this.isAway) return undefined;
        const fault = this.#chance.int(0, 149);
        if (fault === 0) return undefined; // refused
        if (fault === 1) {
          // Done, but said to nobody.
          const late = this.#chance.int(0, commandMs - 1);
          await this.#clock.sleep(late);
          if (!this.isAway) await act(this.#commands);
          await this.#clock.sleep(commandMs - late);
          return undefined;
        }
        await this.#clock.sleep(this.#chance.int(0, 30));
        if (this.isAway) return undefined;
        const answer = await act(this.#commands);
        await this.#clock.sleep(this.#chance.int(0, 30));
        return this.isAway ? undefined : answer;
      },
      close() {},
    };
  }

  #lies(): boolean {
    return this.lieEvery > 0 && this.#chance.oneIn(this.lieEvery);
  }

  #get(key: string): string | null {
    const found = this.#texts.get(key);
    return found === undefined || found.until <= this.#clock.now ? null : found.text;
  }

  #set(key: string, text: string, ms = Number.POSITIVE_INFINITY): void {
    this.#texts.set(key, { text, until: this.#clock.now + ms });
  }

  #hash(key: string): Map<string, string> {
    const hash = this.#hashes.get(key) ?? new Map<string, string>();
    this.#hashes.set(key, hash);
    return hash;
  }

  /** What is done is done at once, as Redis does. */
  get #commands(): Redis {
    const commands = {
      get: async (key: string) => this.#get(key),
      hgetall: async (key: string) => Object.fromEntries(this.#hash(key)),
      set: async (key: string, text: string, _px: "PX", ms: number, _nx: "NX") => {
        // A lie gives to a second one what the first one still holds.
        if (this.#get(key) !== null && !this.#lies()) return null;
        this.#set(key, text, ms);
        return "OK";
      },
      eval: async (script: string, nKeys: number, ...all: (string | number)[]) => {
        const keys = all.slice(0, nKeys).map(String);
        return this.#run(script, keys, all.slice(nKeys).map(String));
      },
    };
    return commands as unknown as Redis;
  }

  #run(script: string, keys: readonly string[], args: readonly string[]): unknown {
    const [first = "", second = "", third = ""] = keys;
    const [a = "", b = "", c = ""] = args;
    if (script.includes('"PEXPIRE", KEYS[1], ARGV[2]')) {
      if (this.#get(first) !== a) return this.#lies() ? 1 : 0;
      this.#set(first, a, Number(b));
      return this.#lies() ? 0 : 1;
    }
    if (script.includes('"DEL", KEYS[1]')) return this.#get(first) === a && this.#texts.delete(first) ? 1 : 0;
    const changeMark = () => this.#set(second, `${this.#get(second)?.split(" ")[0] ?? a} ${a}`);
    if (script.includes("SISMEMBER")) {
      let missing = 0;
      for (let i = 1; i < args.length; i += 2) {
        const [id = "", record = ""] = args.slice(i, i + 2);
        if (this.#hash(third).has(id) || this.#hash(first).has(id)) continue;
        this.#hash(first).set(id, record);
        missing++;
      }
      if (missing > 0 || this.#get(second) === null) changeMark();
      return missing;
    }
    if (script.includes("SADD")) {
      this.#hash(third).set(b, "");
      if (!this.#hash(first).delete(b)) return 0;
      changeMark();
      return 1;
    }
    if (script.includes('"HSET", KEYS[1], ARGV[2], ARGV[3]')) {
      this.#hash(first).set(b, c);
      changeMark();
      return 1;
    }
    if (script.includes('"HGET"')) return this.#hash(first).get(a) ?? null;
    if (script.includes('"HSET", KEYS[1], ARGV[1]')) return this.#hash(first).set(a, b).size;
    throw new Error(`a script that the simulation does not know: ${script}`);
  }
}
