/** What a folder is, by the files in it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openPath } from "./model-files.node.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-folder-"));
afterAll(() => rmSync(folder, { recursive: true }));

test.each([
  ["a folder's weights", ["config.json", "model.safetensors"], "folder"],
  [
    "weights in parts",
    ["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"],
    "folder",
  ],
  ["a GGUF file alone", ["model.gguf"], "file"],
  ["a GGUF file that a config.json lies beside, as in repositories", ["config.json", "model.gguf"], "file"],
  ["both, of which the folder is meant", ["config.json", "model.safetensors", "model.gguf"], "folder"],
  ["a configuration alone, which opening complains about", ["config.json"], "folder"],
  ["an adapter", ["adapter_config.json", "adapter_model.safetensors"], "folder"],
] as const)("%s", async (name, files, kind) => {
  const path = mkdtempSync(join(folder, "model-"));
  for (const file of files) writeFileSync(join(path, file), "{}");
  const root = await openPath(path);
  expect(root.kind, name).toBe(kind);
  if (root.kind === "file") {
    expect(root.source.name).toMatch(/model\.gguf$/);
    await root.source.close();
  }
});

test("two GGUF files beside a config.json are for the caller to choose from", async () => {
  const path = mkdtempSync(join(folder, "model-"));
  for (const file of ["config.json", "a.gguf", "b.gguf"]) writeFileSync(join(path, file), "{}");
  await expect(openPath(path)).rejects.toMatchObject({
    code: "FILE_NOT_FOUND",
    message: expect.stringContaining("2 .gguf files (a.gguf, b.gguf"),
  });
});
