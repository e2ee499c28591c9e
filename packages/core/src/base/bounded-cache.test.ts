import { expect, test } from "vitest";
import { BoundedCache } from "./bounded-cache.ts";

test("what has rested longest goes first, and nothing outlives its age", () => {
  let now = 0;
  const cache = new BoundedCache<number>({ maxBytes: 10, maxAgeMs: 100 }, () => now);
  cache.keep("a", 1, { bytes: 4 });
  cache.keep("b", 2, { bytes: 4 });
  expect(cache.find("a")).toBe(1);
  cache.keep("c", 3, { bytes: 4 });
  expect([cache.find("a"), cache.find("b"), cache.find("c")]).toEqual([1, undefined, 3]);
  expect(cache.stats).toEqual({ entries: 2, bytes: 8, hits: 3, misses: 1 });
  now = 100;
  expect(cache.find("a")).toBe(undefined);
  expect(cache.stats.bytes).toBe(4);
});

test("an entry larger than all that may be kept is not, and replaces nothing but itself", () => {
  const cache = new BoundedCache<number>({ maxBytes: 10, maxAgeMs: 100 });
  cache.keep("a", 1, { bytes: 4 });
  cache.keep("b", 2, { bytes: 11 });
  expect([cache.find("a"), cache.find("b")]).toEqual([1, undefined]);
  cache.keep("a", 5, { bytes: 6 });
  expect(cache.find("a")).toBe(5);
  expect(cache.stats.bytes).toBe(6);
  cache.clear();
  expect(cache.stats.entries).toBe(0);
});

test("whoever holds most gives up its own, so that none drives out another's", () => {
  const cache = new BoundedCache<number>({ maxBytes: 10, maxAgeMs: 100 });
  cache.keep("quiet 1", 1, { bytes: 2, owner: "quiet" });
  cache.keep("quiet 2", 2, { bytes: 2, owner: "quiet" });
  for (let i = 0; i < 100; i++) cache.keep(`loud ${i}`, i, { bytes: 2, owner: "loud" });
  expect(cache.find("quiet 1")).toBe(1);
  expect(cache.find("quiet 2")).toBe(2);
  expect([96, 97, 98, 99].map((i) => cache.find(`loud ${i}`))).toEqual([undefined, 97, 98, 99]);
  expect(cache.stats).toMatchObject({ entries: 5, bytes: 10 });
  cache.delete("quiet 1");
  cache.delete("quiet 2");
  for (let i = 0; i < 100; i++) cache.keep(`other ${i}`, i, { bytes: 2, owner: "other" });
  expect(cache.find("loud 99")).toBe(99);
  expect(cache.stats.bytes).toBe(10);
});
