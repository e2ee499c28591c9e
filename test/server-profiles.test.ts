/** Profiles of `bitnet serve` and `bitnet doctor`, against the real processes. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { tinyModel } from "./cli-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

const entry = fileURLToPath(new URL("../packages/cli/bin/bitnet.js", import.meta.url));
let server: ServerProcess | null = null;
afterEach(async () => {
  await server?.end();
  server = null;
});

test("a profile is printed, and is what the server runs with", async () => {
  // However slow the machine is: what is asked here is how many may wait, not how long.
  server = await startServerProcess(["--profile", "mobile", "--queue-timeout", "3600"]);
  expect(server.stdout()).toMatch(/profile mobile \(latency\): 2 threads, 512 MiB of memory/);
  const [first, ...rest] = await Promise.all(
    Array.from({ length: 6 }, () =>
      (server as ServerProcess).post("/v1/completions", {
        prompt: "a",
        max_tokens: 200,
        ignore_eos: true,
        n: 8,
      }),
    ),
  );
  expect(first).toBeDefined();
  // One runs and four wait; a sixth at the same time may find no place.
  const statuses = [first, ...rest].map((response) => response?.status);
  expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(5);
  const { models } = (await (await server.get("/stats")).json()) as {
    models: { engine: { pagesFree: number; pagesCached: number; pagesInUse: number } }[];
  };
  const { pagesFree = 0, pagesCached = 0, pagesInUse = 0 } = models[0]?.engine ?? {};
  expect(pagesFree + pagesCached + pagesInUse).toBe(256 / 32); // one context
});

test("flags win over the profile", async () => {
  server = await startServerProcess([
    "--profile",
    "cloud",
    "--threads",
    "1",
    "--ctx-size",
    "128",
    "--parallel",
    "3",
  ]);
  expect(server.stdout()).toMatch(/1 threads/);
  expect(server.stdout()).toMatch(/128 tokens, 384 in the cache/);
  expect(server.stdout()).toMatch(/3 at once/);
});

test("doctor shows the plan, or the arithmetic of why there is none", () => {
  const doctor = (...args: string[]) =>
    spawnSync(process.execPath, [entry, "doctor", "-m", tinyModel, ...args], { encoding: "utf8" });
  const shown = doctor("--profile", "edge", "--json");
  expect(JSON.parse(shown.stdout)).toMatchObject({ profile: "edge", contextLength: 256, screening: true });
  expect(doctor("--profile", "desktop").stderr).toContain("--profile");
});

test("a limit that cannot hold the model ends the start", async () => {
  await expect(startServerProcess(["--profile", "edge", "--memory-limit", "130M"])).rejects.toThrow(
    /130 MiB of memory cannot hold the model: 128 MiB for the program \+ 1\.7 MiB of weights/,
  );
});
