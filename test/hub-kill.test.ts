/** `bitnet pull` in processes of its own: killed at any moment, two at once, a disk that takes no more. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNet } from "bitnet.ts";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { bitnet, bitnetJson, tinyModel } from "./cli-process.ts";
import { commit, type HubServer, randomBytes, repo, sendRange, sha256, startHub } from "./hub-server.ts";
import { seededIntegers } from "./seeded.ts";

const pieceBytes = 16 * 2 ** 20;
const model = randomBytes(3 * pieceBytes + 12_345, 7);
let hub: HubServer;
let cacheDir: string;

beforeEach(async () => {
  hub = await startHub({ "model.gguf": { bytes: model, isLarge: true } });
  cacheDir = mkdtempSync(join(tmpdir(), "bitnet-hub-kill-"));
});
afterEach(async () => {
  await hub.close();
  rmSync(cacheDir, { recursive: true, force: true });
});

const env = () => ({ HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cacheDir, HF_TOKEN: "", HF_HUB_OFFLINE: "" });
const blobs = () => join(cacheDir, "models--tests--tiny", "blobs");

test("killed at ten moments, then continued: verified, and never a half file under the final name", async () => {
  const integers = seededIntegers(2026);
  const finalName = sha256(model);
  for (let kill = 0; kill < 10; kill++) {
    // The moment is a number of bytes that the server has sent: the same on a fast machine and on a slow one.
    const fatalBytes = integers() % Math.ceil(model.length / 3);
    let kills = () => {};
    let sent = 0;
    hub.misbehave = (request, response, { n }) => {
      if (n < 0) return false;
      const [, first = "0", last = "0"] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
      const size = Number(last) - Number(first) + 1;
      response.writeHead(206, {
        "content-length": size,
        "content-range": `bytes ${first}-${last}/${model.length}`,
      });
      const send = (at: number) => {
        const piece = model.subarray(at, Math.min(at + 65_536, Number(last) + 1));
        sent += piece.length;
        if (sent >= fatalBytes) kills();
        if (at + piece.length > Number(last)) response.end(piece);
        else response.write(piece, () => send(at + piece.length));
      };
      send(Number(first));
      return true;
    };
    const { status } = await bitnet(["pull", repo], {
      env: env(),
      onStart: (child) => {
        kills = () => child.kill("SIGKILL");
      },
    });
    const names = readdirSync(blobs());
    if (status === 0) break; // what was left was less than the moment
    expect(status).toBeNull();
    expect(names).not.toContain(finalName);
  }
  hub.misbehave = null;
  const { path } = await bitnetJson<{ path: string }>(["pull", repo], { env: env() });
  expect(readFileSync(path).equals(model)).toBe(true);
  expect(readdirSync(blobs())).toEqual([finalName]);
}, 120_000);

test("what arrived before a kill is not asked for again", async () => {
  let child: { kill(signal: "SIGKILL"): void } | undefined;
  hub.misbehave = (request, response, { n }) => {
    if (n < 0) return false;
    if (n === 0) return false; // one whole piece
    // The others are held back until the first one is in the journal.
    const isNoted = () => {
      const journal = join(blobs(), `${sha256(model)}.bitnet-part.journal`);
      return statSync(journal, { throwIfNoEntry: false })?.size === 20;
    };
    const wait = setInterval(() => {
      if (!isNoted()) return;
      clearInterval(wait);
      child?.kill("SIGKILL");
    }, 5);
    request.on("close", () => clearInterval(wait));
    response.on("close", () => clearInterval(wait));
    return true;
  };
  const killed = await bitnet(["pull", repo], {
    env: env(),
    onStart: (started) => {
      child = started;
    },
  });
  expect(killed.status).toBeNull();
  hub.misbehave = null;
  const before = hub.seen.length;
  await bitnetJson(["pull", repo], { env: env() });
  expect(hub.seen.slice(before).filter(({ range }) => range !== undefined).length).toBe(3);
});

test("two processes pull the same file: each byte comes once, both have it", async () => {
  const both = await Promise.all(
    [1, 2].map(() => bitnetJson<{ path: string }>(["pull", repo], { env: env() })),
  );
  for (const { path } of both) expect(readFileSync(path).equals(model)).toBe(true);
  expect(hub.seen.filter(({ range }) => range !== undefined).length).toBe(4);
  expect(readdirSync(blobs())).toEqual([sha256(model)]);
});

test("an interrupt ends it with 130 and leaves no file under the final name", async () => {
  let child: { kill(signal: "SIGINT"): void } | undefined;
  hub.misbehave = (request, response, { n }) => {
    if (n === 2) child?.kill("SIGINT");
    if (n >= 2) return true;
    if (n >= 0) sendRange(response, model, request.headers.range);
    return n >= 0;
  };
  const { status, stderr } = await bitnet(["pull", repo], {
    env: env(),
    onStart: (started) => {
      child = started;
    },
  });
  expect([status, stderr]).toEqual([130, "bitnet: interrupted\n"]);
  expect(readdirSync(blobs())).not.toContain(sha256(model));
  expect(readdirSync(blobs()).filter((name) => name.includes("lock"))).toEqual([]);
});

test("list, show by name, remove", async () => {
  const { path } = await bitnetJson<{ path: string }>(["pull", repo], { env: env() });
  const listed = await bitnet(["ls"], { env: env() });
  expect(listed.stdout).toContain("tests/tiny");
  // The bytes are no model: the error names the file that was brought.
  const shown = await bitnet(["inspect", "-m", `hf:${repo}`], { env: env() });
  expect([shown.status, shown.stderr]).toEqual([1, expect.stringContaining(`hf:${repo}`)]);
  expect(await bitnetJson(["rm", repo], { env: env() })).toEqual({ freedBytes: model.length + 40 });
  expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  const again = await bitnet(["rm", repo], { env: env() });
  expect([again.status, again.stderr]).toEqual([1, expect.stringContaining("not in the cache")]);
});

test("the table of known models says what fits and how fast it could be", async () => {
  const { models, memoryBytes } = await bitnetJson<{
    models: Record<string, unknown>[];
    memoryBytes: number;
  }>(["models"]);
  const first = models.find(({ alias }) => alias === "2b-4t");
  expect(first).toMatchObject({
    source: "microsoft/bitnet-b1.58-2B-4T-gguf",
    parameters: 2_412_820_480 - 440_320, // as published, less its norms
    license: "MIT",
  });
  // As published: 1,074,969,344 bytes, metadata and norms included.
  const bonsai = models.find(({ alias }) => alias === "bonsai-4b");
  expect(bonsai?.source).toBe("prism-ml/Ternary-Bonsai-4B-gguf:Ternary-Bonsai-4B-PQ2_0.gguf");
  expect(Math.abs(Number(bonsai?.downloadBytes) / 1_074_969_344 - 1)).toBeLessThan(0.01);
  const binary = models.find(({ alias }) => alias === "bonsai-1bit-8b");
  expect(binary?.source).toBe("prism-ml/Bonsai-8B-gguf:Bonsai-8B-Q1_0.gguf");
  expect(Number(binary?.memoryBytes)).toBeGreaterThan(Number(binary?.downloadBytes));
  expect(memoryBytes).toBeGreaterThan(0);
});

test("a model is named by its place on a hub wherever a model is named", async () => {
  hub.files.set("model.gguf", { bytes: readFileSync(tinyModel), isLarge: true });
  const args = ["-p", "Fellow citizens", "-n", "8", "--temp", "0"];
  const answer = async (model: string) =>
    (await bitnetJson<{ text: string }>(["run", "-m", model, ...args], { env: env() })).text;
  expect(await answer(`hf:${repo}`)).toBe(await answer(tinyModel));
  vi.stubEnv("HF_ENDPOINT", hub.endpoint);
  vi.stubEnv("HF_HUB_CACHE", cacheDir);
  // Repositories of GGUF files have a config.json, too, and no weights that it would belong to.
  hub.files.set("config.json", { bytes: Buffer.from('{"model_type":"bitnet"}'), isLarge: false });
  try {
    for (const place of [`hf:${repo}:model.gguf`, `hf:${repo}`, `${hub.endpoint}/${repo}`]) {
      const model = await BitNet.load(place, { backend: "reference" });
      expect(model.info.architecture).toBe("bitnet-b1.58");
      await model.dispose();
    }
    const folder = join(cacheDir, "models--tests--tiny", "snapshots", commit);
    writeFileSync(join(folder, "config.json"), "{}");
    const model = await BitNet.load(folder, { backend: "reference" });
    await model.dispose();
  } finally {
    vi.unstubAllEnvs();
  }
});
