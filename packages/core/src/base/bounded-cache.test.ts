import { expect, test } from "vitest";
import { BoundedCache } from "./bounded-cache.ts";

test("what has rested longest goes first, and nothing outlives its age", () => {
  let now = 0;
  const cache = new BoundedCache<number>({ maxBytes: 10, maxAgeMs: 100 }, () => now);
  cache.keep("a", 1, 4);
  cache.keep("b", 2, 4);
  expect(cache.find("a")).toBe(1);
  cache.keep("c", 3, 4);
  expect([cache.find("a"), cache.find("b"), cache.find("c")]).toEqual([1, undefined, 3]);
  expect(cache.stats).toEqual({ entries: 2, bytes: 8, hits: 3, misses: 1 });
  now = 100;
  expect(cache.find("a")).toBe(undefined);
  expect(cache.stats.bytes).toBe(4);
});

test("an entry larger than all that may be kept is not, and replaces nothing but itself", () => {
  const cache = new BoundedCache<number>({ maxBytes: 10, maxAgeMs: 100 });
  cache.keep("a", 1, 4);
  cache.keep("b", 2, 11);
  expect([cache.find("a"), cache.find("b")]).toEqual([1, undefined]);
  cache.keep("a", 5, 6);
  expect(cache.find("a")).toBe(5);
  expect(cache.stats.bytes).toBe(6);
  cache.clear();
  expect(cache.stats.entries).toBe(0);
});
