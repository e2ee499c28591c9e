/** Converted files as `@huggingface/gguf`, a reader of others, sees them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gguf } from "@huggingface/gguf";
import { afterAll, expect, test } from "vitest";
import { bitnetJson, goldenFolder } from "./cli-process.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-readers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["i2_s", 36],
  ["tq1_0", 34],
  ["tq2_0", 35],
  ["pq2_0", 142],
  ["ptq1_0", 143],
  ["q2_0", 42],
])("%s: names, shapes, types and metadata", async (to, typeId) => {
  const path = join(folder, `${to}.gguf`);
  await bitnetJson(["convert", join(goldenFolder, "hf-packed"), "-o", path, "--to", to]);
  const { metadata, tensorInfos } = await gguf(path, { allowLocalFile: true });
  expect(metadata).toMatchObject({
    version: 3,
    "general.architecture": "bitnet-b1.58",
    "bitnet-b1.58.block_count": 4,
    "bitnet-b1.58.attention.head_count_kv": 2,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.bos_token_id": 2044,
    "tokenizer.chat_template": expect.stringContaining("capitalize"),
  });
  expect((metadata as Record<string, unknown>)["tokenizer.ggml.tokens"]).toHaveLength(2048);
  expect(tensorInfos).toHaveLength(46);
  const up = tensorInfos.find(({ name }) => name === "blk.3.ffn_up.weight");
  expect([up?.dtype, up?.shape.map(Number)]).toEqual([typeId, [256, 768]]);
});
