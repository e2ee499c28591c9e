/** The programs of examples/, run as they stand, on the small model that comes with the package. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { embeddedModelPath } from "bitnet.ts";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "..");

it("finetune: trains, saves and asks the model with what it learnt, in at most 40 lines", async () => {
  const source = readFileSync(join(root, "examples", "finetune.ts"), "utf8");
  expect(source.trimEnd().split("\n").length).toBeLessThanOrEqual(40);
  const folder = mkdtempSync(join(tmpdir(), "bitnet-example-"));
  try {
    const lines = Array.from({ length: 48 }, () =>
      JSON.stringify({ instruction: "Who are you?", output: "I am the clerk." }),
    );
    writeFileSync(join(folder, "data.jsonl"), lines.join("\n"));
    const args = [embeddedModelPath(), join(folder, "data.jsonl"), join(folder, "out")];
    const program = join(root, "build", "examples", "finetune.js");
    const { stdout } = await promisify(execFile)(process.execPath, [program, ...args], { cwd: root });
    expect(stdout).toMatch(/^trainable parameters: 909312 of 5965056\n/);
    const losses = [...stdout.matchAll(/"kind":"step".*"loss":([\d.]+)/g)].map((match) => Number(match[1]));
    expect(losses).toHaveLength(9);
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) - 2);
    expect(stdout.split("\n").at(-1)?.length).toBeGreaterThan(0); // the answer, without a line's end
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
