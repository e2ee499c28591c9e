/** Disks that take no more in the middle of a file, by a limit on what a process may write: an error in words, and nothing that looks whole. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { bitnet, bitnetJson, goldenFolder, tinyModel } from "./cli-process.ts";
import { randomBytes, repo, sha256, startHub } from "./hub-server.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-disk-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Half of what the smallest of the files below has. */
const half = Math.floor(statSync(tinyModel).size / 2 / 512);

it.each(["i2_s", "tq2_0", "hf-packed"])("a conversion to %s leaves what was there before", async (target) => {
  const output = join(folder, "out");
  if (!target.startsWith("hf")) writeFileSync(output, "before");
  const source = join(goldenFolder, "hf-bf16");
  const made = await bitnet(["convert", source, "-o", output, "--to", target], { mostBlocks: half });
  expect(made.status).toBe(1);
  expect(made.stderr).toMatch(/out: cannot be written \(.+\); nothing was left behind\n$/);
  expect(readdirSync(folder)).toEqual(target.startsWith("hf") ? [] : ["out"]);
  if (!target.startsWith("hf")) expect(readFileSync(output, "utf8")).toBe("before");
});

it("a download keeps what came under another name, and goes on from there", async () => {
  const model = randomBytes(40_000_000, 3);
  const hub = await startHub({ "model.gguf": { bytes: model, isLarge: true } });
  try {
    const cache = join(folder, "cache");
    mkdirSync(cache);
    const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache, HF_TOKEN: "", HF_HUB_OFFLINE: "" };
    const stopped = await bitnet(["pull", repo], { env, mostBlocks: 40_000 });
    expect(stopped.status).toBe(1);
    expect(stopped.stderr).toMatch(/cannot be written|disk|too large/i);
    const blobs = join(cache, "models--tests--tiny", "blobs");
    expect(readdirSync(blobs)).not.toContain(sha256(model));
    const { path } = await bitnetJson<{ path: string }>(["pull", repo], { env });
    expect(readFileSync(path).equals(model)).toBe(true);
    expect(readdirSync(blobs)).toEqual([sha256(model)]);
  } finally {
    await hub.close();
  }
});
