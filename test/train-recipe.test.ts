/**
 * The recipe of the default model works in one piece: run, five extensions, exports; here at a thousandth of its tokens. And a run of it
 * that has ended has nothing more to do.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type LogEntry, parseRecipe, readLog, shrinkRecipe } from "@bitnet.ts/train";
import { BitNet } from "bitnet.ts";
import { expect, it } from "vitest";
import smallChat from "../models/recipes/small-chat.ts";

const root = join(import.meta.dirname, "..");
const bitnet = join(root, "packages", "cli", "bin", "bitnet.js");
const program = join(root, "build", "models", "recipes", "small-chat.js");
const share = 0.001;

interface Trained {
  gguf: string;
  step: number;
  tokens: number;
  losses: Record<string, number>;
}

async function train(folder: string): Promise<Trained> {
  const flags = ["--share", String(share), "--backward", "f32", "-t", "1", "--json"];
  const env = { ...process.env, BITNET_TEXT: "" };
  const args = [bitnet, "train", program, "-o", folder, ...flags];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return JSON.parse(stdout) as Trained;
}

const hashOf = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

it("trains through every stage, exports, and answers", async () => {
  const recipe = shrinkRecipe(parseRecipe({ ...smallChat }, "small-chat"), share);
  const steps = (tokens: number) => Math.max(1, Math.round(tokens / recipe.batchTokens));
  const ends: number[] = [];
  for (const { tokens } of [recipe, ...recipe.extensions]) ends.push((ends.at(-1) ?? 0) + steps(tokens));
  const folder = mkdtempSync(join(tmpdir(), "bitnet-recipe-"));
  try {
    const result = await train(folder);
    expect(result.step).toBe(ends.at(-1));
    expect(ends.length).toBe(6);
    const log = readLog(join(folder, "log.jsonl"));
    const ofKind = <K extends LogEntry["kind"]>(kind: K) =>
      log.filter((entry): entry is LogEntry & { kind: K } => entry.kind === kind);
    expect(ofKind("step").map(({ step }) => step)).toEqual(
      Array.from({ length: result.step }, (_, i) => i + 1),
    );
    // Every stage ends with an evaluation and a checkpoint, and its rate goes to its floor.
    for (const end of ends) {
      expect(ofKind("evaluation").map(({ step }) => step)).toContain(end);
      expect(ofKind("checkpoint").map(({ step }) => step)).toContain(end);
      expect(ofKind("step")[end]?.rate ?? 1).toBeGreaterThan(ofKind("step")[end - 1]?.rate ?? 1);
    }
    expect(Object.keys(result.losses)).toEqual(smallChat.sources.map(({ name }) => name));
    const losses = ofKind("step").map(({ loss }) => loss);
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) - 2);
    const model = await BitNet.load(result.gguf, { onNotice: () => {}, threads: 1 });
    expect(model.info).toMatchObject({ hiddenSize: 256, nLayers: 6 });
    expect((await model.generate("User: hello", { maxTokens: 4, ignoreEos: true }).result).ids).toHaveLength(
      4,
    );
    await model.dispose();
    const before = hashOf(result.gguf);
    expect(await train(folder)).toEqual(result);
    expect(hashOf(result.gguf)).toBe(before);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
