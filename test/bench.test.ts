/**
 * Every bench in its quick mode, in a process of its own, so that none can rot. What they report, never how fast it is. Those of the native
 * backend are skipped without one; the peer is measured only where it has been installed before.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { backendReport } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { benches } from "../bench/benches.ts";
import { peerEntry } from "../bench/harness/peer.ts";
import type { BenchResult } from "../bench/harness/result.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const hasNative = (await backendReport()).some(({ name, isAvailable }) => name === "native" && isAvailable);
const hasPeer = existsSync(peerEntry());
/** The software adapter of Debian's chromium. */
const swiftShader = "/usr/lib/chromium/vk_swiftshader_icd.json";
const hasAdapter = existsSync(swiftShader) || process.env.BITNET_REQUIRE_ALL === "1";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-bench-test-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The peer lies where the dummy models are; all other benches get a folder of their own. */
async function bench(name: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const { BITNET_BENCH_DIR, ...env } = process.env;
  const cache = name === "peers" ? BITNET_BENCH_DIR : folder;
  return promisify(execFile)(process.execPath, ["build/bench/main.js", name, ...args], {
    cwd: root,
    env: {
      VK_DRIVER_FILES: swiftShader,
      ...env,
      ...(cache === undefined ? {} : { BITNET_BENCH_DIR: cache }),
    },
  });
}

it("every bench has a file, and every file is listed", async () => {
  const files = readdirSync(join(root, "bench")).filter((file) => file.endsWith(".ts"));
  const names = files
    .map((file) => file.replace(/\.ts$/, ""))
    .filter((name) => name !== "main" && name !== "benches");
  expect(benches.map(({ name }) => name).sort()).toEqual(names.sort());
  const { stdout } = await promisify(execFile)(process.execPath, ["build/bench/main.js"], { cwd: root });
  for (const { name, question } of benches) expect(stdout).toContain(`${question}`.length > 0 ? name : "");
});

it("an unknown bench and an unknown option are errors of one line", async () => {
  await expect(bench("speed")).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^bench: there is no "speed".*\n$/),
  });
  await expect(bench("load", "--fast")).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^bench load: .*--fast.*\n$/s),
  });
});

/** The first bench that needs a bare multiply loop compiles it. */
const timeoutMs = 240_000;

describe.skipIf(!hasNative)("quick mode", { timeout: timeoutMs }, () => {
  const runnable = benches.filter(
    ({ name }) => ((name !== "peers" && name !== "bonsai") || hasPeer) && (name !== "webgpu" || hasAdapter),
  );
  it.each(runnable)("$name", async ({ name, question, sampler }) => {
    const json = join(folder, `${name}.json`);
    const { stdout } = await bench(name, "--quick", "--json", json);
    const result = JSON.parse(readFileSync(json, "utf8")) as BenchResult;
    expect(result).toMatchObject({ bench: name, question, quick: true });
    expect(result.command).toBe(`npm run bench -- ${name} --quick`);
    expect(Date.parse(result.date)).toBeGreaterThan(0);
    expect(result.machine.isas).toContain(result.isa);
    expect(result.columns.some(({ label }) => label === "sampler")).toBe(sampler === "by row");
    for (const { key } of result.columns) for (const row of result.rows) expect(row).toHaveProperty(key);
    for (const row of result.rows)
      for (const [key, cell] of Object.entries(row))
        if (typeof cell === "number" && key !== "refused")
          expect(cell).toBeGreaterThan(name === "scaling" ? -1 : 0);
    expect(stdout.startsWith(question)).toBe(true);
    expect(stdout).toContain(result.machine.cpu);
    const verdicts = stdout.split("\n").filter((line) => /^(pass|FAIL|not measured): /.test(line));
    expect(verdicts).toHaveLength(result.verdicts.length);
  });
});
