import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { bytesSource } from "../base/byte-source.ts";
import { isPlainFileName } from "./file-root.ts";
import { openPath } from "./model-files.node.ts";
import { openModelFiles } from "./model-files.ts";
import { entry, errorOf, info, rawGguf, rawSafetensors, watched } from "./raw-bytes.test.fixture.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-model-files-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const gguf = rawGguf({ tensors: [info("a", [8], 0, 0)], dataBytes: 32 });
const weights = rawSafetensors('{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4);

async function write(files: Record<string, string | Uint8Array>): Promise<string> {
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}

async function open(path: string) {
  const files = await openModelFiles(await openPath(path));
  await files.close();
  return files;
}

describe("local paths", () => {
  test("a GGUF file", async () => {
    await write({ "model.gguf": gguf });
    const files = await open(join(folder, "model.gguf"));
    expect(files.kind === "gguf" && [...files.gguf.tensors.keys()]).toEqual(["a"]);
    const tensor = files.kind === "gguf" ? files.gguf.tensors.get("a") : undefined;
    expect(tensor?.source.path).toBe(join(folder, "model.gguf"));
  });

  test("a folder with exactly one GGUF model, split or not", async () => {
    await write({ "README.md": "x", "Model.GGUF": gguf });
    expect((await open(folder)).kind).toBe("gguf");
    await rm(join(folder, "Model.GGUF"));
    const part = (no: number, tensor: string) =>
      rawGguf({
        metadata: [entry("split.no", 2, [no, 0]), entry("split.count", 2, [2, 0])],
        tensors: [info(tensor, [8], 0, 0)],
        dataBytes: 32,
      });
    await write({ "m-00001-of-00002.gguf": part(0, "a"), "m-00002-of-00002.gguf": part(1, "b") });
    const files = await open(folder);
    expect(files.kind === "gguf" && [...files.gguf.tensors.keys()]).toEqual(["a", "b"]);
  });

  test("a Hugging Face folder, also beside a GGUF file", async () => {
    await write({
      "config.json": '{"model_type": "bitnet"}',
      "tokenizer.json": '{"model": {}}',
      "generation_config.json": '{"eos_token_id": 1}',
      "tokenizer_config.json": '{"chat_template": "old", "bos_token": "<s>"}',
      "chat_template.jinja": "new",
      "model.safetensors": weights,
      "model.gguf": gguf,
    });
    const files = await open(folder);
    expect(files).toMatchObject({
      kind: "hf",
      config: { model_type: "bitnet" },
      tokenizerJson: { model: {} },
      tokenizerConfig: { chat_template: "new", bos_token: "<s>" },
      generationConfig: { eos_token_id: 1 },
    });
    expect(files.kind === "hf" && files.tensors.get("w")?.byteLength).toBe(4);
  });

  test("optional files may be absent", async () => {
    await write({ "config.json": "{}", "tokenizer.json": "{}", "model.safetensors": weights });
    const files = await open(folder);
    expect("tokenizerConfig" in files).toBe(false);
    expect("generationConfig" in files).toBe(false);
  });

  test.each([
    ["an empty folder", {}, "FILE_NOT_FOUND", /expected config.json .*found neither/],
    [
      "two GGUF models",
      { "a.gguf": gguf, "b.gguf": gguf },
      "FILE_NOT_FOUND",
      /found 2 .gguf files \(a.gguf, b.gguf/,
    ],
    ["no tokenizer", { "config.json": "{}" }, "FILE_NOT_FOUND", /expected tokenizer.json/],
    [
      "SentencePiece's tokenizer alone",
      { "config.json": "{}", "tokenizer.model": "x", "model.safetensors": weights },
      "FILE_NOT_FOUND",
      /found SentencePiece's tokenizer.model alone; transformers makes .*save_pretrained/,
    ],
    [
      "weights of PyTorch",
      { "config.json": "{}", "tokenizer.json": "{}", "pytorch_model.bin": "x" },
      "FILE_NOT_FOUND",
      /pytorch_model.bin, are not read; transformers' save_pretrained writes/,
    ],
    [
      "no weights",
      { "config.json": "{}", "tokenizer.json": "{}" },
      "FILE_NOT_FOUND",
      /expected model.safetensors or/,
    ],
    [
      "broken JSON",
      { "config.json": '{"a": }' },
      "FORMAT_INVALID",
      /config.json: line 1, column 7: expected a value/,
    ],
    [
      "a web page instead of weights",
      { "config.json": "{}", "tokenizer.json": "{}", "model.safetensors": "<!doctype html>" },
      "FORMAT_INVALID",
      /model.safetensors: expected a safetensors file, found a web page/,
    ],
  ])("%s", async (_, files, code, message) => {
    await write(files as Record<string, string>);
    const error = await errorOf(() => open(folder));
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
  });

  test("what is not there, or no file", async () => {
    expect((await errorOf(() => open(join(folder, "none.gguf")))).code).toBe("FILE_NOT_FOUND");
    await mkdir(join(folder, "config.json"));
    expect((await errorOf(() => open(folder))).code).toBe("INVALID_ARGUMENT");
  });

  test("a lone safetensors file asks for its folder", async () => {
    await write({ "model.safetensors": weights });
    const error = await errorOf(() => open(join(folder, "model.safetensors")));
    expect(error.code).toBe("FORMAT_UNSUPPORTED");
    expect(error.message).toMatch(/give the folder that also has its config.json/);
  });

  test("siblings stay inside the folder", async () => {
    await write({ "model.gguf": gguf });
    const root = await openPath(join(folder, "model.gguf"));
    if (root.kind !== "file") throw new Error("expected a file");
    expect(await root.openSibling?.("none.gguf")).toBeNull();
    expect(await root.openSibling?.("../model.gguf")).toBeNull();
    const sibling = await root.openSibling?.("model.gguf");
    expect(sibling?.size).toBe(gguf.length);
    await sibling?.close();
    await root.source.close();
  });
});

test("the source is closed when opening fails", async () => {
  const { source, counts } = watched(bytesSource(new Uint8Array(40)));
  await errorOf(() => openModelFiles({ kind: "file", source }));
  expect(counts.closed).toBe(1);
});

test("the I2_S layout option reaches the tensors", async () => {
  const file = rawGguf({ tensors: [info("w", [128, 4], 36, 0)], dataBytes: 160 });
  const root = { kind: "file", source: bytesSource(file) } as const;
  const files = await openModelFiles(root, { i2sLayout: "rows4" });
  expect(files.kind === "gguf" && files.gguf.tensors.get("w")?.type).toBe("i2_s_rows4");
});

test("plain file names", () => {
  for (const name of ["a", "model-00001-of-00002.safetensors", "..a", "ä b"])
    expect(isPlainFileName(name)).toBe(true);
  for (const name of ["", ".", "..", "a/b", "a\\b", "/a", "c:a", "a\0", "x".repeat(256)]) {
    expect(isPlainFileName(name)).toBe(false);
  }
});
