/**
 * Servers that share keys, leases and answers through a Redis that fails in every way. Rules: a key that was never made opens nothing; one
 * that was made or revoked does, or does not, everywhere within two seconds; nobody waits for Redis for longer than a command may take; two
 * never hold one lease, but for seconds after Redis has forgotten it; an answer is that of its own request. Without Redis, all this goes on.
 */
import type { GenerationResult } from "bitnet.ts";
import { AnswerCache } from "#server/answer-cache.ts";
import type { KeyRecord } from "#server/key-store.ts";
import { createKey, KeyRing } from "#server/keys.ts";
import { createRedisKeys } from "#server/store/redis-keys.ts";
import { createRedisLeases } from "#server/store/redis-leases.ts";
import { createSharedCache } from "#server/store/shared-cache.ts";
import { Chance } from "./chance.ts";
import { SimulatedClock } from "./clock.ts";
import { SimulatedRedis } from "./redis.ts";

/** A look a second, and commands that take up to one each. */
const followMs = 1000 + 4 * 1000 + 200;
/** As leases have it, and a turn of the holder. */
const trustedMs = 4000 + 100;
const lifeMs = 40_000;
/** A mark, what is put back, the mark again, the keys: each may take a second. */
const longestMs = 4 * 1000 + 100;

interface Key {
  readonly record: KeyRecord;
  readonly key: string;
  /** When its state last changed, by the word of Redis; null: nobody knows whether it did. */
  changedAt: number | null;
  isRevoked: boolean;
}

/** @throws Error that names the seed and the rule that was broken. */
export async function simulateSharing(seed: number): Promise<{ trace: string[] }> {
  const clock = new SimulatedClock();
  const chance = new Chance(seed);
  const redis = new SimulatedRedis(clock, new Chance(seed ^ 0x2a2a));
  const trace: string[] = [];
  const problems: string[] = [];
  const begin = clock.now;
  const note = (text: string) => trace.push(`${clock.now - begin} ms: ${text}`);
  const violate = (text: string) => {
    note(text);
    problems.push(text);
  };
  const keys: Key[] = [];
  /** Since when Redis has answered without a break. */
  let answersSince = clock.now;
  let forgotAt = Number.NEGATIVE_INFINITY;
  let nFailures = 0;
  const isOver = () => clock.now - begin >= lifeMs || problems.length > 0;
  const settings = { maxBytes: 100_000, maxAgeMs: 3_600_000 };

  const server = async (name: string) => {
    const link = redis.link();
    const counted = {
      ...link,
      ask: async <T>(act: Parameters<typeof link.ask<T>>[0]) => {
        const answer = await link.ask(act);
        if (answer === undefined) nFailures++;
        // Whoever got no answer looks again a second later.
        if (answer === undefined) answersSince = clock.now;
        return answer;
      },
    };
    let ring: KeyRing | null = null;
    while (ring === null && !isOver()) {
      ring = await KeyRing.open(createRedisKeys(counted, note)).catch(() => null);
      await clock.sleep(500);
    }
    const cache = new AnswerCache(settings, createSharedCache(counted, settings, "1"));
    const leases = createRedisLeases(counted, 6000);
    while (!isOver() && ring !== null) {
      await clock.sleep(chance.int(10, 400));
      if (chance.oneIn(4)) {
        await hold(name, leases);
        continue;
      }
      const asked = clock.now;
      await (chance.oneIn(2) ? useKey(name, ring) : useCache(name, cache));
      if (clock.now - asked > longestMs) violate(`${name} has waited ${clock.now - asked} ms for Redis`);
    }
  };

  const useKey = async (name: string, ring: KeyRing) => {
    if (keys.length === 0 || chance.oneIn(6)) {
      if ((await ring.find(`bnk_${chance.int(0, 1e6)}`)) !== null)
        violate(`${name} lets in a key that was never made`);
      return;
    }
    const one = keys[chance.int(0, keys.length - 1)] as Key;
    // Its state is looked at before it is asked, and whether that still holds afterwards.
    const { changedAt, isRevoked } = one;
    await ring.find(one.key); // an old ring may begin to look here
    const found = await ring.find(one.key);
    const isSettled =
      changedAt !== null &&
      one.changedAt === changedAt &&
      clock.now - Math.max(changedAt, answersSince) > followMs;
    if (isSettled && isRevoked && found !== null) violate(`${name} lets in a key that was revoked`);
    if (isSettled && !isRevoked && found === null) violate(`${name} refuses a key that was made`);
  };

  const useCache = async (name: string, cache: AnswerCache) => {
    const entry = `entry ${chance.int(0, 12)}`;
    const found = await cache.find(entry, "tenant");
    if (found === undefined)
      cache.keep(entry, { pieces: [{ id: 1, text: entry }], result: resultOf(entry) }, "tenant");
    else if (found.result.text !== entry)
      violate(`${name} gets the answer of ${found.result.text} for ${entry}`);
  };

  const holders = new Set<{ readonly isLost: boolean }>();
  const hold = async (name: string, leases: ReturnType<typeof createRedisLeases>) => {
    const held = await leases.acquire("batch");
    if (held === null) return;
    holders.add(held);
    const until = clock.now + chance.int(100, 9000);
    while (clock.now < until && !held.isLost && !isOver()) {
      const others = [...holders].filter((each) => each !== held && !each.isLost);
      // Who held it before Redis forgot does not know that yet; whoever takes it over works on copies.
      if (others.length > 0 && clock.now - forgotAt > trustedMs)
        violate(`${name} holds a lease that another holds`);
      await clock.sleep(50);
    }
    holders.delete(held);
    await held.release();
  };

  const admin = async () => {
    const store = createRedisKeys(redis.link(), note);
    while (!isOver()) {
      const open = keys.filter(({ isRevoked }) => !isRevoked);
      const victim = open[chance.int(0, Math.max(0, open.length - 1))];
      if (open.length < 2 || victim === undefined || chance.oneIn(2)) {
        const made = await createKey(store, { name: `key ${keys.length}`, limits: {} }).catch(() => null);
        if (made !== null) keys.push({ ...made, changedAt: clock.now, isRevoked: false });
      } else {
        victim.changedAt = null;
        const isDone = await store.remove(victim.record.id).catch(() => null);
        // Not done, or done without a word: revoked once more says which.
        if (isDone !== null) Object.assign(victim, { changedAt: clock.now, isRevoked: true });
      }
      await clock.sleep(chance.int(200, 4000));
    }
  };

  const fate = async () => {
    while (!isOver()) {
      await clock.sleep(chance.int(3000, 15_000));
      redis.isAway = true;
      const forgets = chance.oneIn(2);
      note(forgets ? "Redis ends and forgets" : "Redis is away");
      // What changed just before may be known to nobody who can put it back.
      for (const key of keys)
        if (forgets && (key.changedAt ?? 0) > Math.min(clock.now - followMs, answersSince) - 2 * followMs)
          key.changedAt = null;
      if (forgets) {
        redis.forget();
        forgotAt = clock.now;
      }
      await clock.sleep(chance.int(100, 6000));
      redis.isAway = false;
      answersSince = clock.now;
      note("Redis is back");
    }
  };

  const restore = clock.install(seed);
  try {
    void admin();
    void fate();
    for (let i = 0; i < chance.int(2, 3); i++) void server(`server ${i}`);
    await clock.run(() => isOver());
  } finally {
    restore();
  }
  note(`${nFailures > 0 ? "some" : "no"} answers of Redis were lost`);
  if (problems.length > 0)
    throw new Error(`seed ${seed}: ${problems.join("; ")}\n${trace.slice(-30).join("\n")}`);
  return { trace };
}

function resultOf(text: string): GenerationResult {
  const timings = { queuedMs: 0, promptMs: 1, firstTokenMs: 1, decodeMs: 1 };
  return {
    ...{ text, timings, stopReason: "stop", promptIds: [1], ids: [1], seed: 1 },
    ...{ promptTokens: 1, cachedTokens: 0 },
  } as unknown as GenerationResult;
}
