/** `bitnet embed` as users run it: lines and JSONL in; JSONL, one JSON object and .npy out; and what it refuses. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNet } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bitnet, bitnetJson, tinyModel } from "./cli-process.ts";

let folder = "";
let expected: number[][] = [];
const texts = ["a first text", "another", "and a third one"];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-embed-"));
  const model = await BitNet.load(tinyModel);
  expected = (await model.embed(texts)).embeddings.map((vector) => Array.from(vector));
  await model.dispose();
});
afterAll(() => rm(folder, { recursive: true }));

const parsed = (lines: string) =>
  lines
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { index: number; id?: unknown; embedding: number[] });

/** A matrix as NumPy's own reader takes it: magic, version, header length, a Python dict, numbers. */
async function readNpy(path: string): Promise<{ header: string; data: Buffer }> {
  const bytes = await readFile(path);
  expect(bytes.subarray(0, 8).toString("latin1")).toBe("\x93NUMPY\x01\x00");
  const end = 10 + bytes.readUInt16LE(8);
  expect(end % 64).toBe(0);
  expect(bytes[end - 1]).toBe(10);
  return { header: bytes.subarray(10, end).toString("latin1").trim(), data: bytes.subarray(end) };
}

describe("bitnet embed", () => {
  it("embeds lines of standard input, in order", async () => {
    const { stdout, status } = await bitnet(["embed", "-m", tinyModel], { input: texts.join("\r\n") });
    expect(status).toBe(0);
    expect(parsed(stdout)).toEqual(expected.map((embedding, index) => ({ index, embedding })));
  });

  it("embeds JSONL with ids, from a file", async () => {
    const path = join(folder, "in.jsonl");
    const lines = [{ body: texts[0], id: "x" }, texts[1], { id: 7, body: texts[2] }];
    await writeFile(path, `${lines.map((line) => JSON.stringify(line)).join("\n\n")}\n`);
    const { stdout } = await bitnet(["embed", "-m", tinyModel, "-f", path, "--jsonl", "body"]);
    const found = parsed(stdout);
    expect(found.map(({ id }) => id)).toEqual(["x", undefined, 7]);
    expect(found.map(({ embedding }) => embedding)).toEqual(expected);
  });

  it("prints one object with --json", async () => {
    const found = await bitnetJson<object>(["embed", "-m", tinyModel, ...texts]);
    expect(found).toMatchObject({ embeddings: expected, dimensions: 256, pooling: "mean" });
  });

  it("writes a NumPy matrix", async () => {
    const path = join(folder, "out.npy");
    expect((await bitnet(["embed", "-m", tinyModel, ...texts, "-o", path])).status).toBe(0);
    const { header, data } = await readNpy(path);
    expect(header).toBe("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 256), }");
    expect(Array.from(new Float32Array(Uint8Array.from(data).buffer))).toEqual(expected.flat());
  });

  it("writes fewer bits", async () => {
    const path = join(folder, "bits.npy");
    await bitnet(["embed", "-m", tinyModel, ...texts, "-o", path, "--quantize", "binary"]);
    const { header, data } = await readNpy(path);
    expect(header).toContain("'|u1'");
    expect(header).toContain("(3, 32)");
    expect((data[0] ?? 0) >> 7).toBe((expected[0]?.[0] ?? 0) > 0 ? 1 : 0);
  });

  it("embeds more texts than go in one lot", async () => {
    const input = Array.from({ length: 600 }, (_, i) => texts[i % 3]).join("\n");
    const { stdout } = await bitnet(["embed", "-m", tinyModel], { input });
    const found = parsed(stdout);
    expect(found.map(({ index }) => index)).toEqual(Array.from({ length: 600 }, (_, i) => i));
    expect(found[599]?.embedding).toEqual(expected[2]);
  });

  it.each([
    [
      ["--jsonl"],
      '{"text": "a"}\n{"test": "b"}',
      /standard input, line 2: expected a text, or an object with a text "text"/,
    ],
    [["--jsonl"], '{"text": "a"}\nno', /line 2: expected JSON/],
    [["--dimensions", "300"], "a", /from 1 to 256, found 300/],
    [["--prompt-name", "query"], "a", /no prompt "query"/],
    [["-f", "nowhere.txt"], "", /nowhere\.txt: no such file/],
    [["-f", "x", "text"], "", /not both/],
    [["-c", "40"], `${"a\n".repeat(300)}${"many words ".repeat(40)}`, /text 300 has \d+ tokens/],
  ])("refuses %j %#", async (args, input, message) => {
    const path = join(folder, "refused.npy");
    const { status, stderr } = await bitnet(["embed", "-m", tinyModel, ...args, "-o", path], { input });
    expect(stderr).toMatch(message);
    expect(status).toBe(1);
    expect(existsSync(path)).toBe(false);
  });
});
