/** What servers share through Redis, over many seeds; planted bugs are found. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { AnswerCache } from "#server/answer-cache.ts";
import { KeyRing } from "#server/keys.ts";
import { SimulatedRedis } from "./simulation/redis.ts";
import { simulateSharing } from "./simulation/simulate-sharing.ts";

const nSeeds = Number(process.env.BITNET_SIMULATION_SEEDS ?? 100);

test(`rules hold over ${nSeeds} seeds`, { timeout: 24 * 3600 * 1000 }, async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < nSeeds; seed++) {
    const { trace } = await simulateSharing(seed);
    for (const line of trace) seen.add(line.replace(/^\d+ ms: /, "").replace(/\d+/, "n"));
  }
  for (const what of ["Redis is away", "Redis ends and forgets", "some answers of Redis were lost"])
    expect(seen).toContain(what);
  expect([...seen].some((line) => /lost its memory/.test(line))).toBe(true);
});

test("a seed is the same run again", async () => {
  for (const seed of [1, 2, 3]) expect(await simulateSharing(seed)).toEqual(await simulateSharing(seed));
});

describe("a planted bug is found", () => {
  afterEach(() => vi.restoreAllMocks());

  async function firstFailure(): Promise<string> {
    for (let seed = 0; seed < 300; seed++) {
      try {
        await simulateSharing(seed);
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    }
    return "all seeds went well";
  }

  /** Changes what the scripts, or the commands, of Redis do. */
  function plant(change: (answer: unknown, script: string) => unknown): void {
    const { link } = SimulatedRedis.prototype;
    vi.spyOn(SimulatedRedis.prototype, "link").mockImplementation(function (this: SimulatedRedis) {
      const made = link.call(this);
      return {
        ...made,
        ask: async (act) => change(await made.ask(act), String(act)) as never,
      };
    });
  }

  test("keys: a change is not noticed", async () => {
    plant((answer, act) => (act.includes(".get(") && answer ? "the same" : answer));
    expect(await firstFailure()).toMatch(/key that was (revoked|made)/);
  });

  test("keys: what was forgotten is not put back", async () => {
    const { link } = SimulatedRedis.prototype;
    vi.spyOn(SimulatedRedis.prototype, "link").mockImplementation(function (this: SimulatedRedis) {
      const made = link.call(this);
      return {
        ...made,
        ask: async (act) => (String(act).includes("restoreScript") ? undefined : made.ask(act)),
      };
    });
    expect(await firstFailure()).toMatch(/key that was (made|revoked)/);
  });

  test("keys: everybody is let in", async () => {
    const { find } = KeyRing.prototype;
    vi.spyOn(KeyRing.prototype, "find").mockImplementation(async function (this: KeyRing, key) {
      return (await find.call(this, key)) ?? ({ id: "x" } as never);
    });
    expect(await firstFailure()).toMatch(/never made|revoked/);
  });

  test("leases: one that cannot be renewed is held all the same", async () => {
    plant((answer, act) => (act.includes("renewScript") ? 1 : answer));
    expect(await firstFailure()).toMatch(/holds a lease that another holds/);
  });

  test("answers: keys are mixed up", async () => {
    const { find } = AnswerCache.prototype;
    vi.spyOn(AnswerCache.prototype, "find").mockImplementation(function (this: AnswerCache, key, tenant) {
      return find.call(this, key === "entry 3" ? "entry 4" : key, tenant);
    });
    expect(await firstFailure()).toMatch(/gets the answer of/);
  });
});
