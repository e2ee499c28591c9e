import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { historyMs } from "./history.ts";
import { sweepHistories } from "./sweep-histories.ts";

test("histories of servers that are gone for a day are removed, and nothing else", async () => {
  const folder = await mkdtemp(join(tmpdir(), "bitnet-sweep-"));
  const now = Date.now();
  const old = new Date(now - historyMs - 60_000);
  const make = async (name: string, isOld: boolean, file = "snapshots.jsonl") => {
    await mkdir(join(folder, name));
    await writeFile(join(folder, name, file), "x");
    if (!isOld) return;
    await utimes(join(folder, name, file), old, old);
    await utimes(join(folder, name), old, old);
  };
  await make("monitor-pod-a-8080", true);
  await make("monitor-pod-b-8080", false);
  await make("monitor-own-8080", true);
  await make("monitor", true);
  await make("files", true);
  // Lines are added to a file without its folder being touched.
  await make("monitor-pod-c-8080", true);
  await writeFile(join(folder, "monitor-pod-c-8080", "snapshots.jsonl"), "xy");
  await utimes(join(folder, "monitor-pod-c-8080"), old, old);
  await sweepHistories(folder, "monitor-own-8080", now);
  expect((await readdir(folder)).sort()).toEqual([
    "files",
    "monitor",
    "monitor-own-8080",
    "monitor-pod-b-8080",
    "monitor-pod-c-8080",
  ]);
  await sweepHistories(join(folder, "none"), "x", now);
  await rm(folder, { recursive: true });
});
