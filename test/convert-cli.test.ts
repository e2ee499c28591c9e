/** `bitnet convert` and `bitnet perplexity` as users run them. */
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bytesSource, openGguf } from "@bitnet.ts/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { bitnet, bitnetJson, embeddedModel, goldenFolder, tinyModel } from "./cli-process.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-convert-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const out = (name: string) => join(folder, name);

/** The golden masters as a model of the Llama shape: without the norms that Llama does not have. */
function llamaFolder(target: string, { isTrained }: { isTrained: boolean }): void {
  cpSync(join(goldenFolder, "hf-bf16"), target, { recursive: true });
  const { quantization_config, ...config } = JSON.parse(
    readFileSync(join(target, "config.json"), "utf8"),
  ) as Record<string, unknown>;
  const llama = { ...config, architectures: ["LlamaForCausalLM"], model_type: "llama", hidden_act: "silu" };
  writeFileSync(
    join(target, "config.json"),
    JSON.stringify(isTrained ? { ...llama, quantization_config } : llama),
  );
  const path = join(target, "model.safetensors");
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<string, unknown>;
  const kept = Object.fromEntries(Object.entries(header).filter(([name]) => !name.includes("sub_norm")));
  bytes.write(JSON.stringify(kept).padEnd(length), 8);
  writeFileSync(path, bytes);
}

describe("convert", () => {
  test.skipIf(process.platform === "win32")(
    "a write that fails in the middle leaves nothing, and what was there stays",
    async () => {
      writeFileSync(out("there.gguf"), "what was there");
      for (const [name, args] of [
        ["there.gguf", ["convert", tinyModel, "-o", out("there.gguf"), "--to", "tq2_0"]],
        ["folder", ["convert", tinyModel, "-o", out("folder"), "--to", "hf-packed"]],
        [
          "rows.npy",
          ["embed", "-m", tinyModel, "-o", out("rows.npy"), ...Array.from({ length: 700 }, () => "text")],
        ],
      ] as const) {
        // The shell lets no file grow beyond 400 blocks of 512 or 1024 bytes: writing fails as on a full disk.
        const entry = join(goldenFolder, "..", "..", "packages", "cli", "bin", "bitnet.js");
        const command = ["-c", 'ulimit -f 400; exec "$@"', "sh", process.execPath, entry, ...args];
        const { status, stderr } = spawnSync("sh", command, { encoding: "utf8" });
        expect([name, status]).toEqual([name, 1]);
        expect(stderr).toMatch(/cannot be written \(EFBIG\); nothing was left behind/);
      }
      expect(readdirSync(folder)).toEqual(["there.gguf"]);
      expect(readFileSync(out("there.gguf"), "utf8")).toBe("what was there");
    },
  );

  test("writes, verifies, and the result answers as the source does", async () => {
    const args = ["convert", tinyModel, "-o", out("packed"), "--to", "hf-packed", "--verify"];
    const report = await bitnetJson<{ verified: Record<string, unknown> }>(args);
    expect(report.verified).toMatchObject({ nTrits: 3_014_656, nRoundedScales: 0, changedTables: [] });
    expect(report.verified.logprobs).toContain("have the same bits");
    const answer = (model: string) =>
      bitnetJson<{ text: string }>(["run", "-m", model, "-p", "Fellow citizens", "-n", "12", "--temp", "0"]);
    expect((await answer(out("packed"))).text).toBe((await answer(tinyModel)).text);
    expect(readdirSync(folder)).toEqual(["packed"]);
  });

  test("rows of q and k get the order that GGUF files of the family have: logits stay", async () => {
    llamaFolder(out("llama"), { isTrained: true });
    for (const [source, to] of [
      ["llama", "tq2_0"],
      ["tq2_0", "hf-packed"],
      ["hf-packed", "i2_s"],
    ] as const) {
      const { stdout, stderr, status } = await bitnet([
        "convert",
        out(source),
        "-o",
        out(to),
        "--to",
        to,
        "--verify",
      ]);
      expect([status, stderr]).toEqual([0, ""]);
      const [, difference = "0"] = /differ by up to (\S+), because the rows of q and k/.exec(stdout) ?? [];
      expect(Number(difference)).toBeLessThan(1e-4);
      expect(stdout).toContain("in another order");
    }
  });

  test("full-precision weights that nobody trained to be ternary are refused, unless forced", async () => {
    llamaFolder(out("llama"), { isTrained: false });
    const args = ["convert", out("llama"), "-o", out("i2_s"), "--to", "i2_s"];
    const { status, stderr } = await bitnet(args);
    expect([status, stderr]).toEqual([1, expect.stringContaining("--force")]);
    expect(readdirSync(folder)).toEqual(["llama"]);
    expect((await bitnet([...args, "--force", "--verify"])).status).toBe(0);
  });

  test("says how far rounding reaches", async () => {
    const model = out("odd.gguf");
    const file = readFileSync(tinyModel);
    const { tensors } = await openGguf(bytesSource(file));
    const tensor = tensors.get("blk.1.ffn_up.weight");
    const scale = (tensor?.offset ?? 0) + (tensor?.byteLength ?? 0) - 32; // behind the weights
    file.writeFloatLE(file.readFloatLE(scale) * (1 + 2 ** -13), scale);
    writeFileSync(model, file);
    const { status, stdout, stderr } = await bitnet([
      "convert",
      model,
      "-o",
      out("tq2.gguf"),
      "--to",
      "tq2_0",
      "--verify",
    ]);
    expect([status, stderr]).toEqual([
      0,
      expect.stringContaining("scales of 1 tensor do not fit f16 exactly"),
    ]);
    expect(stdout).toMatch(/trits and .* the same, .*(rounded|same bits)/);
  });

  test("compares log-probabilities, not the tokens that have changed places", async () => {
    // Of this model all scales are rounded, and of the best tokens some are.
    const args = ["convert", embeddedModel, "-o", out("tq2.gguf"), "--to", "tq2_0", "--verify"];
    const { stdout } = await bitnet(args);
    const [, difference] =
      /log-probabilities of a prompt differ by up to (\S+), because scales/.exec(stdout) ?? [];
    expect(Number(difference)).toBeGreaterThan(0);
    expect(Number(difference)).toBeLessThan(0.5);
  });

  test("an error or an interrupt leaves nothing behind, and an older result in place", async () => {
    copyFileSync(tinyModel, out("old.gguf"));
    const failed = await bitnet([
      "convert",
      join(goldenFolder, "hf-packed"),
      "-o",
      out("old.gguf"),
      "--to",
      "q1_0",
    ]);
    expect([failed.status, failed.stderr]).toEqual([
      1,
      expect.stringContaining("q1_0: holds −1 and +1 only"),
    ]);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      const killed = await bitnet(["convert", tinyModel, "-o", out("new.gguf"), "--to", "tq1_0"], {
        onStart: (child) => {
          const look = setInterval(() => {
            if (!readdirSync(folder).some((name) => name.endsWith(".part"))) return;
            clearInterval(look);
            child.kill(signal);
          }, 1);
          child.on("close", () => clearInterval(look));
        },
      });
      // Either it was hit in time, or it was done before.
      if (killed.status !== 0) expect(existsSync(out("new.gguf"))).toBe(false);
      expect(readdirSync(folder).filter((name) => name.endsWith(".part"))).toEqual([]);
      rmSync(out("new.gguf"), { force: true });
    }
    expect(readFileSync(out("old.gguf")).equals(readFileSync(tinyModel))).toBe(true);
  });

  test("refuses its own source, a folder that exists, and a place that does not", async () => {
    copyFileSync(tinyModel, out("model.gguf"));
    const before = readdirSync(folder);
    const cases = [
      [out("model.gguf"), "tq2_0", "is the source itself"],
      [folder, "hf-packed", "exists"],
      [folder, "tq2_0", "is a folder; name a file in it"],
      [out("missing/x.gguf"), "tq2_0", "does not exist"],
    ] as const;
    for (const [output, to, words] of cases) {
      const { status, stderr } = await bitnet(["convert", out("model.gguf"), "-o", output, "--to", to]);
      expect([status, stderr]).toEqual([1, expect.stringContaining(words)]);
    }
    expect(readdirSync(folder)).toEqual(before);
  });
});

interface GoldenPrompt {
  text: string;
  ids: number[];
  prompt_logprobs: (number | null)[];
}
const golden = JSON.parse(readFileSync(join(goldenFolder, "golden.json"), "utf8")) as {
  prompts: GoldenPrompt[];
};

describe("perplexity", () => {
  const scored = golden.prompts.filter(({ ids }) => ids.length > 1);

  test.each(scored)(
    "of a golden prompt is that of its log-probabilities: $text",
    async ({ text, ids, prompt_logprobs }) => {
      writeFileSync(out("text.txt"), text);
      const args = ["perplexity", "-f", out("text.txt"), "-c", "64", "--stride", "64"];
      const result = await bitnetJson<{ meanLoss: number; nTokens: number; counting: string; kv: string }>(
        args,
      );
      const losses = prompt_logprobs.filter((x): x is number => typeof x === "number").map((x) => -x);
      expect(losses.length).toBe(ids.length - 1);
      const mean = losses.reduce((sum, x) => sum + x, 0) / losses.length;
      expect(Math.abs(result.meanLoss - mean)).toBeLessThan(1e-5);
      expect(result).toMatchObject({ nTokens: ids.length - 1, counting: "huggingface", kv: "f32" });
    },
  );

  test("as llama.cpp counts, and what each way needs", async () => {
    writeFileSync(out("text.txt"), `${scored[0]?.text} `.repeat(20));
    const result = await bitnetJson<Record<string, number>>([
      "perplexity",
      "-f",
      out("text.txt"),
      "-c",
      "32",
    ]);
    expect(result).toMatchObject({ counting: "llama.cpp", nTokens: (result.nWindows ?? 0) * 15 });
    expect(result.nWindows).toBe(Math.floor((result.textTokens ?? 0) / 32));
    const text = await bitnet(["perplexity", "-f", out("text.txt"), "-c", "32", "--kv", "f16"]);
    expect(text.stdout).toMatch(
      /^Perplexity \d+\.\d{4} ± \d+\.\d{4}\n.* as llama\.cpp counts: .*; f16 cache\n$/,
    );
    const short = await bitnet(["perplexity", "-f", out("text.txt"), "-c", "250"]);
    expect([short.status, short.stderr]).toEqual([1, expect.stringContaining("two contexts")]);
  });
});
