/** A run of the command that is killed without warning, wherever it stands, ends with the very model of a run that is not. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
    checkpointEvery: 1, // most of the time goes into writing them
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

const partsOf = (output: string) => {
  const path = join(folder, output, "checkpoints");
  return existsSync(path) ? readdirSync(path).filter((name) => name.startsWith(".")) : [];
};

/** Sends the signal when the log holds so many steps and more is true. @returns The status that the process ended with. */
async function endAt(
  output: string,
  steps: number,
  signal: NodeJS.Signals,
  isDue = () => true,
): Promise<number | null> {
  const child = start(output);
  const exit = ended(child);
  const look = () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    if (stepsOf(output) >= steps && isDue()) child.kill(signal);
    else setImmediate(look);
  };
  look();
  return exit;
}

const hashOf = (output: string) =>
  createHash("sha256")
    .update(readFileSync(join(folder, output, "model.gguf")))
    .digest("hex");

it("gives the same file", async () => {
  expect(await ended(start("whole"))).toBe(0);
  const total = stepsOf("whole");
  const left: string[] = [];
  for (const steps of [1, 9, 20]) {
    await endAt("killed", steps, "SIGKILL", () => partsOf("killed").length > 0);
    left.push(...partsOf("killed"));
  }
  expect(left).not.toEqual([]); // one at least was caught while it wrote a checkpoint
  // Who asks it to end loses nothing.
  expect(await endAt("killed", 27, "SIGINT")).toBe(130);
  const newest = readdirSync(join(folder, "killed", "checkpoints"))
    .sort()
    .at(-1);
  expect(Number(newest?.slice("step-".length))).toBe(stepsOf("killed"));
  expect(await ended(start("killed"))).toBe(0);
  expect(partsOf("killed")).toEqual([]);
  expect(stepsOf("killed")).toBe(total);
  expect(hashOf("killed")).toBe(hashOf("whole"));
});
