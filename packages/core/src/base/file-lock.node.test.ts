import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { acquireLock, isLocked, lockOwner } from "./file-lock.node.ts";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-lock-"));
  path = join(folder, "lock");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const now = { isDone: async () => true };
const lockOf = (pid: number, host = hostname()) => writeFile(path, JSON.stringify({ pid, host }));
/** More than Linux gives to any process. */
const deadPid = 2 ** 30;

it("has one owner at a time, who can be named, and leaves nothing", async () => {
  const lock = await acquireLock(path, now);
  expect(await lockOwner(path)).toEqual({ pid: process.pid, host: hostname() });
  expect(await isLocked(path)).toBe(true);
  expect(await acquireLock(path, now)).toBeNull();
  await lock?.release();
  expect(await isLocked(path)).toBe(false);
  expect(await readdir(folder)).toEqual([]);
});

it.each([
  ["a process that is gone", () => lockOf(deadPid)],
  ["an earlier process of this one's number, as each has in a container", () => lockOf(process.pid)],
])("the lock of %s is taken over, by one of those who find it", async (_, make) => {
  await make();
  const locks = await Promise.all(Array.from({ length: 8 }, () => acquireLock(path, now)));
  expect(locks.filter((lock) => lock !== null)).toHaveLength(1);
  expect(await readdir(folder)).toEqual(["lock"]);
});

it.each([
  ["of a living process", () => lockOf(process.ppid)],
  ["of another machine", () => lockOf(deadPid, "elsewhere")],
  ["that was just made, empty, on a disk without links", () => writeFile(path, "")],
])("a lock %s is left alone, until nobody has touched it for a minute", async (kind, make) => {
  await make();
  expect(await acquireLock(path, now)).toBeNull();
  const before = await readFile(path, "utf8");
  await utimes(path, new Date(), new Date(Date.now() - 50_000));
  expect(await acquireLock(path, now)).toBeNull();
  expect(await readFile(path, "utf8"), kind).toBe(before);
  await utimes(path, new Date(), new Date(Date.now() - 61_000));
  expect(await acquireLock(path, now)).not.toBeNull();
});

it("of many who wait each gets it once, never two at a time", async () => {
  let nInside = 0;
  let most = 0;
  const work = async () => {
    const lock = await acquireLock(path, { pollMs: 1 });
    most = Math.max(most, ++nInside);
    await readdir(folder);
    nInside--;
    await lock?.release();
  };
  await Promise.all(Array.from({ length: 10 }, work));
  expect([most, nInside]).toEqual([1, 0]);
});
