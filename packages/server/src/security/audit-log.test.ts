import { mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { AuditLog } from "./audit-log.ts";
import { SecurityCounters } from "./security-counters.ts";

/** A disk on which others have time to look between the making of a file and the writing into it. */
vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  const open: typeof real.open = async (...args) => {
    const handle = await real.open(...args);
    const write = handle.writeFile.bind(handle);
    handle.writeFile = async (...all) => {
      for (let turn = 0; turn < 50; turn++) await real.stat(tmpdir());
      return write(...all);
    };
    return handle;
  };
  return { ...real, open };
});

const settings = { secret: "0123456789abcdef", withTexts: false, maxBytes: 1000, maxFiles: 2 };
const never = (line: string) => {
  throw new Error(line);
};

test("files are put aside at their size, and so many are kept", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "audit-")), "audit.log");
  const log = await AuditLog.open({ ...settings, file }, never);
  for (let i = 0; i < 100; i++) log.write({ event: "request", i, pad: "x".repeat(50) });
  await log.close();
  const names = (await readdir(join(file, ".."))).sort();
  expect(names).toEqual(["audit.log", "audit.log.1", "audit.log.2"]);
  const lines: { i: number }[] = [];
  for (const name of ["audit.log.2", "audit.log.1", "audit.log"]) {
    const path = join(file, "..", name);
    expect((await stat(path)).size).toBeLessThanOrEqual(1000);
    for (const line of (await readFile(path, "utf8")).trim().split("\n")) lines.push(JSON.parse(line));
  }
  expect(lines.at(-1)?.i).toBe(99);
  expect(lines.map(({ i }) => i)).toEqual(lines.map((_, at) => 100 - lines.length + at));
  expect(log.dropped).toBe(0);
});

test("a client's name in the log depends on the secret, which is kept", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "audit-")), "audit.log");
  const first = await AuditLog.open({ ...settings, file, secret: null }, never);
  const again = await AuditLog.open({ ...settings, file, secret: null }, never);
  const other = await AuditLog.open({ ...settings, file }, never);
  expect(again.hash("key_1")).toBe(first.hash("key_1"));
  expect(other.hash("key_1")).not.toBe(first.hash("key_1"));
  expect(first.hash("key_1")).not.toBe(first.hash("key_2"));
  expect((await stat(`${file}.secret`)).mode & 0o777).toBe(0o600);
  await expect(AuditLog.open({ ...settings, file, secret: "short" }, never)).rejects.toThrow("16 characters");
});

test("servers that begin at the same time keep one secret, and say what to do with one that was cut off", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "audit-")), "audit.log");
  const open = () => AuditLog.open({ ...settings, file, secret: null }, never);
  const logs = await Promise.all(Array.from({ length: 8 }, open));
  expect(new Set(logs.map((log) => log.hash("key_1"))).size).toBe(1);
  expect((await readdir(join(file, ".."))).sort()).toEqual(["audit.log", "audit.log.secret"]);
  await writeFile(`${file}.secret`, "");
  await expect(open()).rejects.toThrow(/audit\.log\.secret has 0; remove it/);
});

test("a disk that fails loses lines, counted, and nothing else", async () => {
  const problems: string[] = [];
  const folder = await mkdtemp(join(tmpdir(), "audit-"));
  const log = await AuditLog.open({ ...settings, file: join(folder, "a") }, (line) => problems.push(line));
  const { rm, mkdir } = await import("node:fs/promises");
  await rm(join(folder, "a"));
  await mkdir(join(folder, "a"));
  for (const count of [1, 2, 3]) {
    log.write({ a: count });
    await log.close();
    expect(log.dropped).toBe(count);
  }
  // Once, however many are lost, until lines get through again.
  expect(problems.length).toBe(1);
  await rm(join(folder, "a"), { recursive: true });
  log.write({ a: 4 });
  await log.close();
  await rm(join(folder, "a"));
  await mkdir(join(folder, "a"));
  log.write({ a: 5 });
  await log.close();
  expect([log.dropped, problems.length]).toEqual([4, 2]);
});

test("refusals of the last hour", () => {
  let now = 0;
  const counters = new SecurityCounters(() => now);
  counters.refusal("CONTENT_FILTERED");
  counters.refusal("QUEUE_FULL"); // load, not security
  now = 59 * 60_000;
  counters.refusal("UNAUTHENTICATED");
  expect(counters.report()).toMatchObject({ blocked: 2, blocked_last_hour: 2 });
  now = 61 * 60_000;
  expect(counters.report()).toMatchObject({ blocked: 2, blocked_last_hour: 1 });
  now = 200 * 60_000;
  expect(counters.report()).toMatchObject({
    blocked_last_hour: 0,
    blocked_by_code: { CONTENT_FILTERED: 1, UNAUTHENTICATED: 1 },
  });
});
