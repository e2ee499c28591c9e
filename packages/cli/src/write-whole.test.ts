import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writeConversion } from "./write-whole.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-whole-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const { signal } = new AbortController();

/** Fails behind the first piece. */
function* failing(code: string): Generator<Uint8Array> {
  yield new Uint8Array(10);
  throw Object.assign(new Error(code), { code });
}

test.each(["ENOSPC", "EDQUOT"])("a full disk (%s) is told in words, and nothing is left", async (code) => {
  const output = join(folder, "model.gguf");
  writeFileSync(output, "before");
  const writing = writeConversion(
    output,
    { kind: "file", files: [{ name: null, pieces: failing(code) }] },
    { signal },
  );
  await expect(writing).rejects.toMatchObject({
    code: "IO_FAILED",
    message: `${output}: cannot be written (the disk is full); nothing was left behind`,
  });
  expect(readdirSync(folder)).toEqual(["model.gguf"]);
  expect(readFileSync(output, "utf8")).toBe("before");
});

test("of a folder, too, after whole files of it", async () => {
  const files = [
    { name: "config.json", pieces: [new Uint8Array(3)] },
    { name: "model.safetensors", pieces: failing("ENOSPC") },
  ];
  const writing = writeConversion(join(folder, "model"), { kind: "folder", files }, { signal });
  await expect(writing).rejects.toThrow(/the disk is full/);
  expect(readdirSync(folder)).toEqual([]);
});
