/** The server and the engine on a simulated machine: many seeds, and bugs planted to see that they are found. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { Roster } from "#core/generate/roster.ts";
import { PieceStream } from "#core/generate/stream.ts";
import { PagedCache } from "#core/model/paged-cache.ts";
import { PrefixIndex } from "#core/model/paged-index.ts";
import { Admission } from "#server/admission.ts";
import { Account } from "#server/rate-limit.ts";
import { simulate } from "./simulation/simulate.ts";

const only = process.env.BITNET_SIMULATION_SEED;

test.skipIf(only === undefined)("the seed asked for", async () => {
  const { trace } = await simulate(Number(only));
  console.info(trace.join("\n"));
});

test("rules hold over 300 seeds", async () => {
  for (let seed = 0; seed < 300; seed++) await simulate(seed);
});

test("a seed is the same run again", async () => {
  for (const seed of [3, 17, 392, 953]) {
    const [first, second] = [await simulate(seed), await simulate(seed)];
    expect(first.trace.length).toBeGreaterThan(3);
    expect(second.trace).toEqual(first.trace);
    expect(second.visits.map(({ socket }) => socket.received)).toEqual(
      first.visits.map(({ socket }) => socket.received),
    );
  }
});

test("seeds reach what they are about", async () => {
  const seen = new Set<string>();
  let nPreemptions = 0;
  let nPaused = 0;
  let rowsSkipped = 0;
  for (let seed = 0; seed < 150; seed++) {
    const world = await simulate(seed);
    for (const { failure } of world.visits) seen.add(failure?.code ?? "none");
    nPreemptions += world.reached.preemptions;
    nPaused += world.reached.paused;
    rowsSkipped += world.reached.rowsSkipped;
  }
  expect([...seen].sort()).toEqual([
    ...["ABORTED", "DRAINING", "GENERATION_ERROR", "INVALID_INPUT", "OUT_OF_MEMORY", "QUEUE_FULL"],
    ...["RATE_LIMIT_EXCEEDED", "TIMEOUT", "none"],
  ]);
  expect(rowsSkipped).toBeGreaterThan(0);
  expect(nPreemptions).toBeGreaterThan(0);
  expect(nPaused).toBeGreaterThan(0);
});

describe("a planted bug is found", () => {
  afterEach(() => vi.restoreAllMocks());

  /** What the first of 300 seeds that fails has to say. */
  async function firstFailure(): Promise<string> {
    for (let seed = 0; seed < 300; seed++) {
      try {
        await simulate(seed);
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    }
    return "all seeds went well";
  }

  test("scheduler: the youngest goes first", async () => {
    const { get = () => [] } = Object.getOwnPropertyDescriptor(Roster.prototype, "requests") ?? {};
    vi.spyOn(Roster.prototype, "requests", "get").mockImplementation(function (this: Roster) {
      return (get.call(this) as Roster["requests"]).toReversed();
    });
    expect(await firstFailure()).toMatch(/was begun before/);
  });

  test("scheduler: a reader who catches up is not noticed", async () => {
    const { get } = Object.getOwnPropertyDescriptor(PieceStream.prototype, "nUnread") ?? {};
    vi.spyOn(PieceStream.prototype, "nUnread", "get").mockImplementation(function (this: PieceStream) {
      return (get?.call(this) as number) + 20;
    });
    expect(await firstFailure()).toMatch(/paused although every reader is ready|in the end/);
  });

  test("cache: a page is forgotten when a sequence closes", async () => {
    const { close } = PagedCache.prototype;
    vi.spyOn(PagedCache.prototype, "close").mockImplementation(function (this: PagedCache, sequence, tokens) {
      if (sequence.pages.length > 1 && sequence.written % 32 === 0) sequence.pages.pop();
      close.call(this, sequence, tokens);
    });
    expect(await firstFailure()).toMatch(/pages are used by nobody/);
  });

  test("cache: a hit is not verified", async () => {
    vi.spyOn(PrefixIndex.prototype, "findFull").mockImplementation((parent) =>
      parent.children.find(({ tokens }) => tokens.length === 32),
    );
    expect(await firstFailure()).toMatch(/failed without a cause|instead of|from the cache/);
  });

  test("cache: tenants share", async () => {
    const { rootOf } = PrefixIndex.prototype;
    vi.spyOn(PrefixIndex.prototype, "rootOf").mockImplementation(function (this: PrefixIndex) {
      return rootOf.call(this, "");
    });
    expect(await firstFailure()).toMatch(/rows from the cache, its tenant had/);
  });

  test("admission: everybody may run", async () => {
    vi.spyOn(Admission.prototype, "enter").mockImplementation(async () => ({ queuedMs: 0, release() {} }));
    expect(await firstFailure()).toMatch(/requests run at once|admission counts/);
  });

  test("admission: all clients are one", async () => {
    const { enter } = Admission.prototype;
    vi.spyOn(Admission.prototype, "enter").mockImplementation(function (
      this: Admission,
      bytes,
      signal,
      more,
    ) {
      return enter.call(this, bytes, signal, { ...more, tenant: "" });
    });
    expect(await firstFailure()).toMatch(/turns while r\d+ waits|although another client has \d+ waiting/);
  });

  test("admission: a turn is given back twice", async () => {
    const { enter } = Admission.prototype;
    vi.spyOn(Admission.prototype, "enter").mockImplementation(async function (this: Admission, ...args) {
      const ticket = await enter.apply(this, args);
      // The ticket of somebody who never came.
      const other = this.stats.queued === 0 ? await enter.call(this, 0, new AbortController().signal) : null;
      return { queuedMs: 0, release: () => void [ticket.release(), other?.release()] };
    });
    expect(await firstFailure()).toMatch(/admission counts|a request waits/);
  });

  test("admission: nobody says that the last one has gone", async () => {
    vi.spyOn(Admission.prototype, "idle").mockImplementation(() => new Promise(() => {}));
    expect(await firstFailure()).toMatch(/the end is waited for/);
  });

  test("limiter: requests are not counted", async () => {
    vi.spyOn(Account.prototype, "open").mockImplementation(() => () => {});
    expect(await firstFailure()).toMatch(/let in beyond a limit/);
  });

  test("limiter: everything is given back", async () => {
    const { reserve } = Account.prototype;
    vi.spyOn(Account.prototype, "reserve").mockImplementation(function (this: Account, nTokens) {
      const settle = reserve.call(this, nTokens);
      return () => settle(0);
    });
    expect(await firstFailure()).toMatch(/given tokens beyond the limit/);
  });

  test("limiter: nothing is given back", async () => {
    const { reserve } = Account.prototype;
    vi.spyOn(Account.prototype, "reserve").mockImplementation(function (this: Account, nTokens) {
      reserve.call(this, nTokens);
      return () => {};
    });
    expect(await firstFailure()).toMatch(/refused tokens that its client has left/);
  });
});
