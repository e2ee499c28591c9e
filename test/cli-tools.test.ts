/** The commands around generation: inspect, tokenize, doctor, bench, dummy, and the help. */
import { readFileSync, watch } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openModelFiles } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bitnet, bitnetJson, embeddedModel, goldenFolder, tinyModel } from "./cli-process.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-tools-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("help and version", () => {
  it("list the commands and the defaults", async () => {
    const [help, runHelp, version, none] = await Promise.all([
      bitnet(["--help"]),
      bitnet(["run", "--help"]),
      bitnet(["--version"]),
      bitnet([]),
    ]);
    for (const command of ["run", "chat", "inspect", "tokenize", "doctor", "bench", "dummy"])
      expect(help.stdout).toMatch(new RegExp(`^  ${command} `, "m"));
    expect(runHelp.stdout.replaceAll(/\s+/g, " ")).toContain("(default: 0.7, env: BITNET_TEMP)");
    expect([help.status, runHelp.status, version.status]).toEqual([0, 0, 0]);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(none).toMatchObject({ status: 1, stdout: "", stderr: help.stdout });
  });
});

interface Inspection {
  architecture: string;
  parameters: number;
  problems: string[];
  metadata: Record<string, unknown>;
  tensors: {
    name: string;
    type: string;
    shape: number[];
    bytes: number;
    weights?: { minus: number; zero: number; plus: number; invalid: number };
  }[];
}

describe("inspect", () => {
  it("shows metadata, tensors and types", async () => {
    const { status, stdout } = await bitnet(["inspect", tinyModel]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/Architecture +bitnet-b1\.58/);
    expect(stdout).toMatch(/Parameters +3,545,344/);
    expect(stdout).toMatch(/blk\.3\.ffn_down\.weight +i2_s +256 × 768 +49\.2 kB/);
    expect(stdout).toMatch(/tokenizer\.ggml\.tokens +\{"array":"string","length":2048/);
    expect(stdout).toMatch(/i2_s +28 tensors/);
  });

  it.each(["tiny-tq1_0.gguf", "hf-packed"])("counts the weights of %s", async (name) => {
    const [counted, own] = await Promise.all([
      bitnetJson<Inspection>(["inspect", `${goldenFolder}/${name}`, "--weights"]),
      bitnetJson<Inspection>(["inspect", "-m", tinyModel, "--weights"]),
    ]);
    const weights = ({ tensors }: Inspection) => tensors.flatMap((tensor) => tensor.weights ?? []);
    const total = (inspection: Inspection, key: "minus" | "zero" | "plus" | "invalid") =>
      weights(inspection).reduce((sum, each) => sum + each[key], 0);
    expect(weights(counted)).toHaveLength(28);
    for (const key of ["minus", "zero", "plus"] as const) expect(total(counted, key)).toBe(total(own, key));
    expect(total(counted, "invalid")).toBe(0);
    expect(counted.problems).toEqual([]);
  });

  it("flags code 3 as corruption", async () => {
    const files = await openModelFiles(await openPath(tinyModel));
    const tensors = files.kind === "gguf" ? files.gguf.tensors : new Map();
    await files.close();
    const bytes = await readFile(tinyModel);
    bytes[tensors.get("blk.3.ffn_up.weight")?.offset ?? 0] = 0xff;
    const path = join(folder, "corrupt.gguf");
    await writeFile(path, bytes);
    const { status, stdout, stderr } = await bitnet(["inspect", path, "--weights"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/CORRUPT: 4 of code 3/);
    expect(stderr).toMatch(/1 tensor with code 3/);
  });
});

describe("tokenize", () => {
  const golden = JSON.parse(readFileSync(`${goldenFolder}/golden.json`, "utf8")) as {
    tokenizer: { text: string; ids: number[]; ids_plain: number[] }[];
  };

  it("gives the golden ids, with and without control tokens", async () => {
    const cases = golden.tokenizer.filter(({ text }) => text !== "" && !text.includes("\0")).slice(-4);
    for (const { text, ids, ids_plain } of cases) {
      const [special, plain] = await Promise.all([
        bitnetJson<{ ids: number[] }>(["tokenize", "--special", "-p", text]),
        bitnetJson<{ ids: number[] }>(["tokenize", "-p", text]),
      ]);
      expect(special.ids, text).toEqual(ids);
      expect(plain.ids, text).toEqual(ids_plain);
    }
  });

  it("prints a table, takes standard input, and decodes", async () => {
    const table = await bitnet(["tokenize", "--bos"], { input: "Hello world\n" });
    const lines = table.stdout.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^ *2044 +"<\|begin_of_text\|>"$/);
    const ids = lines.map((line) => line.trim().split(" ")[0]);
    const decoded = await bitnet(["tokenize", "--decode", ids.slice(1).join(",")]);
    expect(decoded.stdout).toBe("Hello world\n");
  });
});

interface Doctor {
  ok: boolean;
  coresAvailable: number;
  backends: { name: string; isAvailable: boolean; variants: { isa: string; verdict: string }[] }[];
  embeddedModel: { path: string; backend: string; text: string; equalsReference: boolean | null };
  warnings: string[];
  problems: string[];
}

describe("doctor", () => {
  it("finds everything in order", async () => {
    const report = await bitnetJson<Doctor>(["doctor"]);
    expect(report).toMatchObject({ ok: true, problems: [] });
    expect(report.embeddedModel.path).toBe(embeddedModel);
    expect(report.embeddedModel.text.length).toBeGreaterThan(10);
    expect(report.backends.map(({ name }) => name)).toEqual(["native", "webgpu", "wasm", "reference"]);
    if (report.embeddedModel.backend === "native") {
      expect(report.embeddedModel.equalsReference).toBe(true);
      expect(report.backends[0]?.variants.filter(({ verdict }) => verdict === "chosen")).toHaveLength(1);
    }
  });

  it("measures this machine in one line that tells nothing of its owner", async () => {
    const { stdout } = await bitnet(["doctor", "--bench"]);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(stdout).not.toMatch(/[/\\]home|\.gguf/);
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ version: expect.any(String), node: process.version, promptTokens: 128 },
      platform: `${process.platform}-${process.arch}`,
      ...{ promptTokensPerSecond: expect.any(Number), decodeTokensPerSecond: expect.any(Number) },
    });
  });

  it("warns of a forced choice and fails when it does not exist", async () => {
    const forced = await bitnet(["doctor"], { env: { BITNET_BACKEND: "reference" } });
    expect(forced.status).toBe(0);
    expect(forced.stdout).toMatch(/warning: BITNET_BACKEND=reference forces the choice/);
    const broken = await bitnet(["doctor"], { env: { BITNET_BACKEND: "abacus" } });
    expect(broken.status).toBe(1);
    expect(broken.stdout).toMatch(/PROBLEM: .*abacus.*native, webgpu, wasm, reference/);
    // Where WebGPU is installed, Vulkan's loader and drivers write there what they lack.
    expect(broken.stderr).not.toContain("abacus");
  });
});

interface Bench {
  backend: string;
  prompt: { tokens: number; tokensPerSecond: number };
  decode: { tokens: number; tokensPerSecond: number; bytesPerToken: number };
  bandwidth: { bareReadBytesPerSecond: number | null; share: number | null };
  memory: { privateBytes: number; mappedBytes: number; kvBytesPerToken: number };
  head: { screened: number; full: number; candidatesPerScreen: number } | null;
}

describe("bench", () => {
  it("measures the tiny model", async () => {
    const flags = ["bench", "-p", "32", "-n", "8", "-r", "2"];
    const result = await bitnetJson<Bench>([...flags, "--screening", "off"]);
    expect(result.prompt).toEqual({ tokens: 32, tokensPerSecond: expect.any(Number) });
    expect(result.prompt.tokensPerSecond).toBeGreaterThan(0);
    expect(result.decode.tokensPerSecond).toBeGreaterThan(0);
    // Ternary body of 2 bits a weight, f16 head, f32 norms.
    const body = 4 * (2 * 256 * 256 + 2 * 64 * 256 + 3 * 256 * 768) * 0.25;
    const norms = (4 * (3 * 256 + 768) + 256) * 4;
    expect(result.decode.bytesPerToken).toBe(body + 2048 * 256 * 2 + norms);
    // Keys and values of 4 layers, 2 heads and 32 dimensions; the reference keeps f16 values as f32.
    const elementBytes = result.backend === "native" ? 2 : 4;
    expect(result.memory.kvBytesPerToken).toBe(4 * 2 * 2 * 32 * elementBytes);
    const { bareReadBytesPerSecond: bare, share } = result.bandwidth;
    if (bare !== null)
      expect(share).toBeCloseTo((result.decode.bytesPerToken * result.decode.tokensPerSecond) / bare, 6);
  });

  it("counts what decoding reads when the head is screened", async () => {
    const result = await bitnetJson<Bench>(["bench", "-p", "32", "-n", "8", "-r", "2"]);
    const whole = await bitnetJson<Bench>(["bench", "-p", "32", "-n", "8", "-r", "1", "--screening", "off"]);
    if (result.backend !== "native") return;
    expect(whole.head?.screened).toBe(0);
    expect(result.head?.screened).toBeGreaterThan(0);
    expect(result.decode.bytesPerToken).toBeLessThan(whole.decode.bytesPerToken);
  });

  it("judges what is expected of it, with exit status 0 either way", async () => {
    const { status, stdout } = await bitnet([
      "bench",
      "-p",
      "8",
      "-n",
      "2",
      "-r",
      "1",
      "--expect-prefill",
      "1e12",
      "--expect-decode-share",
      "1e12",
    ]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^prompt .* tok\/s, expected 1000000000000: FAIL$/m);
    expect(stdout).toMatch(/^decode share .*: FAIL$/m);
  });
});

describe("dummy", () => {
  it("writes a model that runs, the same one for the same seed, and leaves nothing else", async () => {
    const paths = ["a.gguf", "b.gguf"].map((name) => join(folder, name));
    const [first = "", second = ""] = paths;
    for (const path of paths) {
      const { status, stderr } = await bitnet([
        "dummy",
        "--shape",
        "125m",
        "--layers",
        "1",
        "--seed",
        "9",
        "-o",
        path,
      ]);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    }
    expect((await readFile(first)).equals(await readFile(second))).toBe(true);
    expect((await readdir(folder)).filter((name) => name.endsWith(".part"))).toEqual([]);
    const { ids, promptIds } = await bitnetJson<{ ids: number[]; promptIds: number[] }>([
      ...["run", "-m", first, "-p", "Hello", "-n", "3", "--ignore-eos", "-s", "1"],
    ]);
    expect(ids).toHaveLength(3);
    expect(promptIds[0]).toBe(31997);
    const { tensors } = await bitnetJson<Inspection>(["inspect", first, "--weights"]);
    for (const { weights } of tensors) expect(weights?.invalid ?? 0).toBe(0);
  });

  it("leaves nothing behind when it is interrupted", async () => {
    const place = await mkdtemp(join(folder, "interrupted-"));
    const watcher = watch(place);
    const { status, stdout, stderr } = await bitnet(
      ["dummy", "--shape", "700m", "-o", join(place, "big.gguf")],
      { onStart: (child) => watcher.once("change", () => child.kill("SIGINT")) },
    );
    watcher.close();
    expect({ status, stdout, stderr }).toEqual({ status: 130, stdout: "", stderr: "bitnet: interrupted\n" });
    expect(await readdir(place)).toEqual([]);
  });
});
