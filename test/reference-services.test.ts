/**
 * The services that bitnet.ts stands in for: their defaults are kept, and the map of docs/server.md names tests that are there. That each of
 * these tests shows what its row says is for its reader.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defaultSettings, referenceThresholds } from "@bitnet.ts/server";
import { finetuneDefaults } from "@bitnet.ts/train";
import { BitNet, embeddedModelPath, InferenceService } from "bitnet.ts";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const map = readFileSync(join(root, "docs", "server.md"), "utf8");

test("every test that a document names is there", () => {
  const documents = [
    ...["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"],
    ...readdirSync(join(root, "docs")).map((name) => join("docs", name)),
    ...readdirSync(join(root, "docs", "guide")).map((name) => join("docs", "guide", name)),
  ].filter((path) => path.endsWith(".md"));
  for (const path of documents) {
    const text = readFileSync(join(root, path), "utf8");
    for (const [, named = ""] of text.matchAll(/`((?:test|packages)\/[\w./-]+\.test\.ts)`/g))
      expect([path, named, existsSync(join(root, named))]).toEqual([path, named, true]);
  }
});

test("every row of the map names tests by their titles, and they are in their files", () => {
  const [, rows = ""] = /## Reference services[^\n]*\n([\s\S]*?)\n## /.exec(map) ?? [];
  const services = new Set<string>();
  const shown = rows.split("\n").filter((row) => row.startsWith("| ") && !row.startsWith("| service"));
  for (const row of shown) {
    const [, service = "", what = "", , proof = ""] = row.split("|").map((cell) => cell.trim());
    services.add(service);
    const named = [...proof.matchAll(/`([^`]+\.test\.ts)`: ("[^"]+"(?:, "[^"]+")*)/g)];
    expect([service, what, named.length > 0]).toEqual([service, what, true]);
    for (const [, file = "", titles = ""] of named) {
      const source = readFileSync(join(root, file), "utf8");
      for (const [, title = ""] of titles.matchAll(/"([^"]+)"/g))
        expect([file, title, source.includes(`"${title}"`)]).toEqual([file, title, true]);
    }
  }
  expect([...services].sort()).toEqual([
    ...["bitnet.cpp service", "enterprise service", "fine-tuner", "mobile service", "monitoring service"],
    ...["multi-platform manager", "optimiser", "production service", "quick start", "secure service"],
  ]);
});

test("defaults are theirs", async () => {
  expect(defaultSettings).toMatchObject({ parallel: 10, defaultOutputTokens: 512 });
  expect(defaultSettings.cache.maxBytes).toBeGreaterThan(0);
  expect(referenceThresholds).toMatchObject({
    memory: 1024,
    cpu: 80,
    errors: 5,
    latency: 5000,
    throughput: 5,
  });
  expect(finetuneDefaults).toMatchObject({
    lora: { rank: 32, alpha: 64, dropout: 0.1 },
    ...{ rate: 1e-4, batchSize: 2, accumulation: 8, maxLength: 2048 },
    ...{ evaluateEvery: 500, checkpointEvery: 500, keepCheckpoints: 3, recomputes: true },
  });
  expect([...(finetuneDefaults.lora?.targets ?? [])].sort()).toEqual(
    ["attn_k", "attn_output", "attn_q", "attn_v", "ffn_down", "ffn_gate", "ffn_up"].sort(),
  );
  const model = await BitNet.load(embeddedModelPath(), { onNotice: () => {} });
  try {
    const service = new InferenceService(model);
    const requests = Array.from({ length: 12 }, (_, i) => ({ prompt: `${i}`, ignoreEos: true, seed: i }));
    const answers = service.generateBatch(requests);
    await new Promise((resolve) => setImmediate(resolve));
    expect(service.stats()).toMatchObject({ running: 10, waiting: 2 });
    for (const answer of await answers) expect(answer.tokensGenerated).toBe(200);
    expect((await service.generate(requests[0] ?? { prompt: "" })).cacheHit).toBe(true);
  } finally {
    await model.dispose();
  }
});
