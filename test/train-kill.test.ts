/** A run of the command that is killed without warning, wherever it stands, ends with the very model of a run that is not. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const bitnet = join(import.meta.dirname, "..", "packages", "cli", "bin", "bitnet.js");
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-kill-"));
  const lines = Array.from({ length: 60 }, (_, i) =>
    JSON.stringify({ input: `What is ${i} plus one?`, output: `It is ${i + 1}.` }),
  );
  writeFileSync(join(folder, "data.jsonl"), lines.join("\n"));
  const recipe = {
    name: "killed",
    model: {
      hiddenSize: 64,
      ffnSize: 128,
      nLayers: 2,
      nHeads: 4,
      nKvHeads: 2,
      headDim: 16,
      contextLength: 64,
    },
    tokenizer: { vocabSize: 320, samples: 60 },
    sources: [{ path: "data.jsonl" }],
    tokens: 12_000,
    batchTokens: 300,
    checkpointEvery: 3,
    evaluateEvery: 10,
    schedule: { warmupSteps: 5 },
  };
  writeFileSync(join(folder, "recipe.json"), JSON.stringify(recipe));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(output: string): ChildProcess {
  const args = [bitnet, "train", join(folder, "recipe.json"), "-o", join(folder, output), "-t", "1"];
  return spawn(process.execPath, args, { stdio: "ignore" });
}

const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once("exit", resolve));

function stepsOf(output: string): number {
  const path = join(folder, output, "log.jsonl");
  if (!existsSync(path)) return 0;
  return readFileSync(path, "utf8").split('"kind":"step"').length - 1;
}

/** Kills the process as soon as its log holds so many steps. */
async function killAt(output: string, steps: number): Promise<void> {
  const child = start(output);
  const exit = ended(child);
  const timer = setInterval(() => {
    if (stepsOf(output) >= steps) child.kill("SIGKILL");
  }, 2);
  await exit;
  clearInterval(timer);
}

const hashOf = (output: string) =>
  createHash("sha256")
    .update(readFileSync(join(folder, output, "model.gguf")))
    .digest("hex");

it("gives the same file", async () => {
  expect(await ended(start("whole"))).toBe(0);
  const total = stepsOf("whole");
  for (const steps of [4, 9, 20]) await killAt("killed", steps);
  expect(await ended(start("killed"))).toBe(0);
  expect(stepsOf("killed")).toBe(total);
  expect(hashOf("killed")).toBe(hashOf("whole"));
});
