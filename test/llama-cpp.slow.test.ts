/**
 * llama.cpp, as node-llama-cpp ships it, against this engine on a file of the Llama shape in TQ2_0: the same greedy tokens as long as the best one is
 * well ahead. llama.cpp rounds activations in blocks of 256 and this engine a token at a time, so that close races may end otherwise. Installed
 * where the benchmarks have it, without its scripts; skipped where that is not possible.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { BitNet } from "bitnet.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { installPeer, peerEntry } from "../bench/harness/peer.ts";
import { ggufBytes } from "./checkpoint-gguf.ts";
import { type CheckpointShape, randomCheckpoint, randomTokens } from "./random-checkpoint.ts";

function whyMissing(): string | null {
  try {
    installPeer(() => {});
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

const missing = whyMissing();
if (missing !== null && process.env.BITNET_REQUIRE_ALL === "1") throw new Error(missing);

const shape: CheckpointShape = {
  family: "llama",
  ...{ context: 256, theta: 10000, eps: 1e-5, tokens: 320, isTied: false, embeddingBits: 8 },
  ...{ hidden: 256, ffn: 768, layers: 4, heads: 8, kvHeads: 2, headDim: 32, vocab: 320 },
};
const nTokens = 40;
/** In natural logarithms: far beyond what rounding moves. */
const wideMargin = 0.5;

/** Runs in a process of its own: prints the greedy tokens behind each of the prompts. */
const program = `
  const [entry, model, prompts] = process.argv.slice(2);
  const { getLlama } = await import(entry);
  const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error", maxThreads: 2 });
  const loaded = await llama.loadModel({ modelPath: model, gpuLayers: 0, useMmap: true });
  const context = await loaded.createContext({ contextSize: 256, threads: 2 });
  const sequence = context.getSequence();
  const answers = [];
  for (const prompt of JSON.parse(prompts)) {
    await sequence.clearHistory();
    const ids = [];
    for await (const id of sequence.evaluate(prompt, { temperature: 0 })) if (ids.push(id) >= ${nTokens}) break;
    answers.push(ids);
  }
  process.stdout.write("\\n" + JSON.stringify(answers));
  process.exit(0);
`;

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-llama-cpp-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.skipIf(missing !== null)(
  `llama.cpp gives the same greedy tokens (${missing ?? "installed"})`,
  async () => {
    const checkpoint = randomCheckpoint(shape, 11);
    const path = join(folder, "model.gguf");
    writeFileSync(
      path,
      await ggufBytes(checkpoint, { ternary: { kind: "packed", packing: "tq2_0" }, embedding: "f16" }),
    );
    const prompts = [1, 2, 3, 4].map((seed) => randomTokens(checkpoint, 8, seed));
    const script = join(folder, "peer.mjs");
    writeFileSync(script, program);
    const { stdout } = await promisify(execFile)(process.execPath, [
      script,
      pathToFileURL(peerEntry()).href,
      path,
      JSON.stringify(prompts),
    ]);
    const theirs = JSON.parse(stdout.slice(stdout.lastIndexOf("\n"))) as number[][];
    const model = await BitNet.load(path, { kvType: "f16" });
    let nCompared = 0;
    for (const [i, prompt] of prompts.entries()) {
      const told = theirs[i] ?? [];
      // Their tokens are fed to ours, so that one close race does not end the comparison.
      const ids = [...prompt, ...told];
      const { promptLogprobs = [] } = await model.generate(ids, { maxTokens: 0, promptLogprobs: 2 }).result;
      for (const [k, entry] of promptLogprobs.slice(prompt.length).entries()) {
        const [best, second] = entry?.top ?? [];
        if (best === undefined || second === undefined || best.logprob - second.logprob < wideMargin)
          continue;
        nCompared++;
        expect([i, k, told[k]]).toEqual([i, k, best.id]);
      }
    }
    await model.dispose();
    expect(nCompared).toBeGreaterThan(20);
  },
  300_000,
);
