import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pageTokens } from "../backend/backend.ts";
import { PagedCache, type PagedSequence } from "./paged-cache.ts";
import { chainHash, PrefixIndex } from "./paged-index.ts";

/** `n` tokens that depend on `seed`. */
function tokensOf(seed: number, n: number): number[] {
  return Array.from({ length: n }, (_, i) => (Math.imul(seed * 7919 + i, 2654435761) >>> 8) % 1000);
}

/** Runs all rows of a fresh sequence, as a completed step would. */
function write(cache: PagedCache, tokens: number[]): PagedSequence {
  const sequence = cache.open(tokens, tokens.length - 1);
  expect(cache.reserve(sequence, tokens.length)).toBe(true);
  cache.commit(sequence, tokens, tokens.length);
  return sequence;
}

describe("sharing", () => {
  test("full pages of a running sequence are shared, never the last token", () => {
    const cache = new PagedCache(16);
    const tokens = tokensOf(1, 2 * pageTokens);
    const first = write(cache, tokens);
    const second = cache.open(tokens, tokens.length - 1);
    expect(second.pages[0]).toBe(first.pages[0]);
    expect(second.written).toBe(2 * pageTokens - 1);
    // The second page is written to (its last row is computed again), so it is a copy.
    expect(second.copy).toEqual({ from: first.pages[1], to: second.pages[1] });
    expect(second.pages[1]).not.toBe(first.pages[1]);
    cache.commit(second, tokens, tokens.length);
    expect(cache.stats.rowsSkipped).toBe(2 * pageTokens - 1);
    // The copy has become equal to the original: one of the two is given back.
    expect(second.pages).toEqual(first.pages);
    expect(cache.stats).toMatchObject({ pagesInUse: 2, pagesCached: 0 });
  });

  test("an unfinished page of a closed sequence is shared by copy, as far as the tokens agree", () => {
    const cache = new PagedCache(16);
    const tokens = tokensOf(2, pageTokens + 10);
    const first = write(cache, tokens);
    const source = first.pages[1];
    cache.close(first, tokens);
    expect(cache.stats).toMatchObject({ pagesInUse: 0, pagesCached: 2 });
    const other = [...tokens.slice(0, pageTokens + 7), 5000, 5001, 5002];
    const second = cache.open(other, other.length - 1);
    expect(second.written).toBe(pageTokens + 7);
    expect(second.copy?.from).toBe(source);
    cache.close(second, other);
    expect(cache.stats).toMatchObject({ pagesInUse: 0, pagesCached: 2, rowsSkipped: 0 });
  });

  test("rows of a run that never completed are not shared", () => {
    const cache = new PagedCache(8);
    const tokens = tokensOf(3, 3 * pageTokens);
    const first = cache.open(tokens, tokens.length - 1);
    cache.reserve(first, tokens.length);
    cache.commit(first, tokens, pageTokens);
    const second = cache.open(tokens, tokens.length - 1);
    expect(second.written).toBe(pageTokens);
    cache.close(first, tokens);
    const third = cache.open(tokens, tokens.length - 1);
    expect(third.written).toBe(pageTokens);
  });

  test("a limit keeps rows to be computed", () => {
    const cache = new PagedCache(8);
    const tokens = tokensOf(4, 2 * pageTokens);
    write(cache, tokens);
    expect(cache.open(tokens, 0).written).toBe(0);
    expect(cache.open(tokens, pageTokens).written).toBe(pageTokens);
    expect(cache.open(tokens, pageTokens + 5).written).toBe(pageTokens + 5);
  });

  test("a few equal rows are not worth a copy", () => {
    const cache = new PagedCache(8);
    const tokens = tokensOf(6, 30);
    cache.close(write(cache, tokens), tokens);
    expect(cache.open([...tokens.slice(0, 3), 5000, 5001], 4).written).toBe(0);
    expect(cache.open([...tokens.slice(0, 4), 5000, 5001], 5).written).toBe(4);
  });

  test("a whole page replaces a copy of its beginning, and rows computed meanwhile", () => {
    const cache = new PagedCache(8);
    const tokens = tokensOf(7, pageTokens + 5);
    const early = tokens.slice(0, 10);
    cache.close(write(cache, early), early);
    const [a, b, c] = [0, 1, 2].map(() => cache.open(tokens, tokens.length - 1));
    if (a === undefined || b === undefined || c === undefined) throw new Error("three sequences");
    for (const sequence of [a, b, c]) expect(sequence.written).toBe(10);
    for (const sequence of [a, b, c]) cache.reserve(sequence, tokens.length);
    cache.commit(c, tokens, 20);
    const limit = tokens.length - 1;
    expect(cache.computesNextPage({ sequence: a, tokens }, { sequence: b, tokens, limit })).toBe(true);
    expect(cache.computesNextPage({ sequence: a, tokens }, { sequence: c, tokens, limit })).toBe(false);
    expect(cache.computesNextPage({ sequence: c, tokens }, { sequence: a, tokens, limit })).toBe(true);
    cache.commit(a, tokens, tokens.length);
    for (const sequence of [b, c]) {
      cache.shareFull(sequence, tokens, limit);
      expect(sequence).toMatchObject({
        written: pageTokens,
        copy: null,
        pages: [a.pages[0], expect.any(Number)],
      });
      cache.commit(sequence, tokens, tokens.length);
    }
    expect(cache.stats.rowsSkipped).toBe(10 + pageTokens + (10 + pageTokens - 20));
    for (const sequence of [a, b, c]) cache.close(sequence, tokens);
    expect(cache.stats.pagesInUse).toBe(0);
  });

  test("two sequences that wrote the same page end up with one", () => {
    const cache = new PagedCache(8);
    const tokens = tokensOf(5, pageTokens + 1);
    const [a, b] = [cache.open(tokens, pageTokens), cache.open(tokens, pageTokens)];
    for (const sequence of [a, b]) cache.reserve(sequence, tokens.length);
    expect(cache.computesNextPage({ sequence: a, tokens }, { sequence: b, tokens, limit: pageTokens })).toBe(
      true,
    );
    expect(
      cache.computesNextPage({ sequence: a, tokens }, { sequence: b, tokens, limit: pageTokens - 1 }),
    ).toBe(false);
    cache.commit(a, tokens, tokens.length);
    cache.shareFull(b, tokens, pageTokens);
    expect(b.pages[0]).toBe(a.pages[0]);
    expect(b.written).toBe(pageTokens);
    const c = cache.open(tokens, 0);
    cache.reserve(c, tokens.length);
    cache.commit(c, tokens, tokens.length);
    expect(c.pages[0]).toBe(a.pages[0]);
    expect(cache.stats.pagesInUse).toBe(4);
  });
});

describe("pages running out", () => {
  test("cached pages are evicted, the least recently used first and children before parents", () => {
    const cache = new PagedCache(4);
    const [a, b] = [tokensOf(6, 2 * pageTokens), tokensOf(7, 2 * pageTokens)];
    for (const tokens of [a, b]) cache.close(write(cache, tokens), tokens);
    expect(cache.stats).toMatchObject({ pagesCached: 4, pagesFree: 0 });
    const c = tokensOf(8, pageTokens);
    cache.close(write(cache, c), c);
    expect(cache.open(a, 2 * pageTokens).written).toBe(pageTokens);
    expect(cache.open(b, 2 * pageTokens).written).toBe(2 * pageTokens);
  });

  test("reserve takes all or nothing", () => {
    const cache = new PagedCache(3);
    const tokens = tokensOf(9, 4 * pageTokens);
    const sequence = cache.open(tokens, tokens.length - 1);
    expect(cache.reserve(sequence, 3 * pageTokens + 1)).toBe(false);
    expect(cache.stats.pagesFree).toBe(3);
    expect(cache.reserve(sequence, 3 * pageTokens)).toBe(true);
    expect(cache.stats.pagesFree).toBe(0);
  });

  test("a copy is given up when its source is the last page to be had", () => {
    const cache = new PagedCache(2);
    const tokens = tokensOf(10, 20);
    cache.close(write(cache, tokens), tokens);
    const longer = [...tokens, ...tokensOf(11, 2 * pageTokens - 20)];
    const sequence = cache.open(longer, longer.length - 1);
    expect(sequence.written).toBe(20);
    expect(cache.reserve(sequence, longer.length)).toBe(true);
    expect(sequence.written).toBe(0);
    expect(sequence.copy).toBe(null);
    cache.commit(sequence, longer, longer.length);
    expect(cache.stats.rowsSkipped).toBe(0);
  });

  test("free pages are offered for release once, in lots", () => {
    const cache = new PagedCache(8);
    const tokens = tokensOf(12, 3 * pageTokens);
    cache.close(write(cache, tokens), tokens);
    expect(cache.takeReleasable(1)).toBe(null);
    cache.dropCached();
    expect(cache.takeReleasable(4)).toBe(null);
    expect(cache.takeReleasable(3)).toHaveLength(3);
    expect(cache.takeReleasable(1)).toBe(null);
    expect(cache.stats.pagesFree).toBe(8);
    expect(cache.open(tokens, tokens.length - 1).written).toBe(0);
  });

  test.each([0, -1, 1.5, Number.NaN])("%s pages are refused", (nPages) => {
    expect(() => new PagedCache(nPages)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});

test("equal hashes are not enough for a hit", () => {
  const page = tokensOf(20, pageTokens);
  // Each token is mixed in by xor, so a second token can undo the difference that another first token makes.
  const [first = 0, second = 0, ...rest] = page;
  const afterOther = chainHash(0, [first + 1], 0, 1);
  const twin = [first + 1, afterOther ^ chainHash(0, page, 0, 1) ^ second, ...rest];
  expect(chainHash(0, twin, 0, pageTokens)).toBe(chainHash(0, page, 0, pageTokens));
  const index = new PrefixIndex();
  index.add(index.rootOf(""), 0, Int32Array.from(page));
  expect(index.findFull(index.rootOf(""), page, 0)?.page).toBe(0);
  expect(index.findFull(index.rootOf(""), twin, 0)).toBe(undefined);
  // Nor is the right page after another one of the same hash.
  const parent = index.findFull(index.rootOf(""), page, 0);
  if (parent === undefined) throw new Error("the page is not in the index");
  index.add(parent, 1, Int32Array.from(tokensOf(21, pageTokens)));
  const elsewhere = index.add(index.rootOf(""), 2, Int32Array.from(twin));
  expect(index.findFull(parent, tokensOf(21, pageTokens), 0)?.page).toBe(1);
  expect(index.findFull(elsewhere, tokensOf(21, pageTokens), 0)).toBe(undefined);
});

/** What an arena would hold: per row the hash of all tokens up to it, so that a row under a wrong prefix is noticed. */
class Arena {
  readonly #rows: Int32Array[];

  constructor(nPages: number) {
    this.#rows = Array.from({ length: nPages }, () => new Int32Array(pageTokens));
  }

  copy(from: number, to: number): void {
    this.#page(to).set(this.#page(from));
  }

  wipe(page: number): void {
    this.#page(page).fill(0);
  }

  write({ pages }: PagedSequence, tokens: number[], from: number, to: number): void {
    for (let p = from; p < to; p++)
      this.#page(pages[Math.floor(p / pageTokens)] ?? -1)[p % pageTokens] = chainHash(0, tokens, 0, p + 1);
  }

  check({ pages }: PagedSequence, tokens: number[], to: number): void {
    for (let p = 0; p < to; p++) {
      const found = this.#page(pages[Math.floor(p / pageTokens)] ?? -1)[p % pageTokens];
      if (found !== chainHash(0, tokens, 0, p + 1)) throw new Error(`position ${p} holds another row`);
    }
  }

  #page(page: number): Int32Array {
    const rows = this.#rows[page];
    if (rows === undefined) throw new Error(`page ${page} does not exist`);
    return rows;
  }
}

interface Live {
  sequence: PagedSequence;
  tokens: number[];
}

/** A cache with an arena behind it, driven by random numbers; checks everything after every action. */
class Model {
  readonly cache: PagedCache;
  readonly #arena: Arena;
  readonly #live: Live[] = [];

  constructor(nPages: number) {
    this.cache = new PagedCache(nPages);
    this.#arena = new Arena(nPages);
  }

  act([action, x, y]: readonly [number, number, number]): void {
    const live = this.#live[x % Math.max(this.#live.length, 1)];
    if (action <= 2) this.#open(x, y);
    else if (live !== undefined && action <= 6) this.#run(live, y, action !== 6);
    else if (live !== undefined && action === 7) this.#close(live);
    else if (action === 8 && y % 4 === 0) this.cache.dropCached();
    else if (action === 9) for (const page of this.cache.takeReleasable(1) ?? []) this.#arena.wipe(page);
    this.#check();
  }

  finish(): void {
    for (const live of [...this.#live]) this.#close(live);
    expect(this.cache.stats.pagesInUse).toBe(0);
    this.cache.dropCached();
    expect(this.cache.stats).toMatchObject({ pagesCached: 0, pagesFree: this.cache.nPages });
  }

  /** Prompts that begin alike: a few stems, cut and continued anywhere. */
  #open(x: number, y: number): void {
    const stem = tokensOf(x % 3, 1 + (y % 90));
    const tokens = [...stem, ...tokensOf(100 + (y % 2), 1 + (x % 40))];
    this.#live.push({ sequence: this.cache.open(tokens, tokens.length - 1), tokens });
  }

  /** A step of one sequence: some rows more, or a failure after some rows have been overwritten. */
  #run({ sequence, tokens }: Live, y: number, succeeds: boolean): void {
    const limit = tokens.length - 1;
    this.cache.shareFull(sequence, tokens, limit);
    this.cache.sharePartial(sequence, tokens, limit);
    if (!this.cache.reserve(sequence, Math.min(sequence.written + 1 + (y % 50), tokens.length))) return;
    if (sequence.written === tokens.length) tokens.push(y % 5);
    const room = sequence.pages.length * pageTokens;
    const end = Math.min(tokens.length, room, sequence.written + 1 + (y % 50));
    if (end <= sequence.written) return;
    const { copy, written } = sequence;
    if (copy !== null) this.#arena.copy(copy.from, copy.to);
    this.#arena.write(sequence, tokens, written, end);
    if (!succeeds) return;
    this.#arena.check(sequence, tokens, end);
    this.cache.commit(sequence, tokens, end);
    this.#arena.check(sequence, tokens, end);
  }

  #close(live: Live): void {
    this.cache.close(live.sequence, live.tokens);
    this.cache.close(live.sequence, live.tokens);
    this.#live.splice(this.#live.indexOf(live), 1);
  }

  #check(): void {
    const { pagesInUse, pagesCached, pagesFree } = this.cache.stats;
    expect(pagesInUse + pagesCached + pagesFree).toBe(this.cache.nPages);
    expect(this.cache.nObtainable).toBe(pagesCached + pagesFree);
    const used = new Set<number>();
    const users = new Map<number, { isWhole: boolean }[]>();
    for (const { sequence, tokens } of this.#live) {
      const { pages, copy, written } = sequence;
      expect(new Set(pages).size).toBe(pages.length);
      if (copy === null) this.#arena.check(sequence, tokens, written);
      else used.add(copy.from);
      pages.forEach((page, slot) => {
        used.add(page);
        const isWhole = (slot + 1) * pageTokens <= written;
        users.set(page, [...(users.get(page) ?? []), { isWhole }]);
      });
    }
    // Only whole pages, which nobody writes to any more, stand in two tables.
    for (const [page, each] of users)
      if (each.length > 1 && each.some(({ isWhole }) => !isWhole))
        throw new Error(`page ${page} is shared too early`);
    expect(used.size).toBe(pagesInUse);
  }
}

test("any sequence of actions keeps the accounts and the contents", () => {
  const action = fc.tuple(fc.nat(9), fc.nat(10_000), fc.nat(10_000));
  fc.assert(
    fc.property(
      fc.integer({ min: 3, max: 14 }),
      fc.array(action, { minLength: 20, maxLength: 120 }),
      (nPages, actions) => {
        const model = new Model(nPages);
        for (const each of actions) model.act(each);
        model.finish();
      },
    ),
    { seed: 20260101, numRuns: 150 },
  );
});
