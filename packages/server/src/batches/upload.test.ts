/** Uploads that end early, wherever that is: an error or a file each time, nothing left behind, and no error that nobody catches. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ServeError } from "../errors.ts";
import { receiveUpload, type Upload } from "./upload.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-upload-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const never = new AbortController().signal;
const part = (name: string, content: string, more = "") =>
  `--x\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n${content}\r\n`;
const file = (name: string) => part(name, '{"custom_id":"1"}', '; filename="a.jsonl"');

async function receive(pieces: readonly string[], path: string, type = "multipart/form-data; boundary=x") {
  const body = Readable.from(pieces.map((piece) => Buffer.from(piece)));
  return receiveUpload(body, { headers: { "content-type": type }, path, maxBytes: 1000, signal: never });
}

const forms: Record<string, string> = {
  "file first": `${file("file")}${part("purpose", "batch")}--x--\r\n`,
  "file last": `${part("purpose", "batch")}${file("file")}--x--\r\n`,
  "a file of another name": `${file("other")}${part("purpose", "batch")}--x--\r\n`,
  "two files": `${file("file")}${file("file")}--x--\r\n`,
  "another file, then the file": `${file("other")}${file("file")}--x--\r\n`,
};

test.each(Object.keys(forms))("%s, cut off at every byte and sent in one piece or two", async (name) => {
  const form = forms[name] ?? "";
  for (let length = 0; length <= form.length; length++) {
    for (const pieces of [
      [form.slice(0, length)],
      [form.slice(0, length / 2), form.slice(length / 2, length)],
    ]) {
      const path = join(folder, "spooled");
      const outcome: Upload | ServeError = await receive(pieces, path).catch((error: ServeError) => error);
      if (outcome instanceof Error) {
        expect(outcome, `${length}`).toBeInstanceOf(ServeError);
        expect(outcome.code).toBe("INVALID_INPUT");
        expect(existsSync(path), `${length}`).toBe(false);
      } else {
        expect(readFileSync(path, "utf8")).toBe('{"custom_id":"1"}');
        rmSync(path);
      }
    }
  }
});

test.each(["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=y"])(
  "%s is refused",
  async (type) => {
    await expect(receive([forms["file first"] ?? ""], join(folder, "none"), type)).rejects.toBeInstanceOf(
      ServeError,
    );
    expect(existsSync(join(folder, "none"))).toBe(false);
  },
);

test.each(["ENOSPC", "EDQUOT", "EFBIG"])("a disk that takes no more (%s) is told in words", async (code) => {
  const handle = await open(folder, "r");
  const prototype = Object.getPrototypeOf(handle) as { write: unknown };
  await handle.close();
  const { write } = prototype;
  prototype.write = async () => {
    throw Object.assign(new Error(code), { code });
  };
  const path = join(folder, code);
  try {
    await expect(receive([`${file("file")}--x--\r\n`], path)).rejects.toMatchObject({ code: "TOO_LARGE" });
  } finally {
    prototype.write = write;
  }
  expect(existsSync(path)).toBe(false);
});
