import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readMessage } from "./chat-input.ts";
import { readLines, readTextFile } from "./read-input.ts";

async function* chunksOf(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk;
}

async function linesOf(...chunks: (string | Uint8Array)[]): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of readLines(chunksOf(...chunks))) lines.push(line);
  return lines;
}

describe("readLines", () => {
  it("splits wherever chunks end", async () => {
    expect(await linesOf("on", "e\ntwo\r\n\nthr", "ee")).toEqual(["one", "two", "", "three"]);
    expect(await linesOf("one\n")).toEqual(["one"]);
    expect(await linesOf()).toEqual([]);
  });

  it("keeps characters whole over chunks and replaces what is not UTF-8", async () => {
    const euro = new TextEncoder().encode("€\n");
    expect(await linesOf(euro.slice(0, 1), euro.slice(1))).toEqual(["€"]);
    expect(await linesOf(Uint8Array.of(0x61, 0xff, 0x0a))).toEqual(["a\ufffd"]);
  });
});

describe("readTextFile", () => {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-input-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const { signal } = new AbortController();

  it("reads files, and says what it cannot read", async () => {
    const path = join(folder, "prompt");
    writeFileSync(path, "one\ntwo\n");
    expect(await readTextFile(path, signal)).toBe("one\ntwo");
    await expect(readTextFile(join(folder, "none"), signal)).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
    });
    await expect(readTextFile(folder, signal)).rejects.toMatchObject({ code: "IO_FAILED" });
  });

  it.skipIf(process.platform === "win32")("reads a pipe, and leaves one that nobody writes to", async () => {
    const path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    execFile("sh", ["-c", 'printf "one\\ntwo\\n" > "$0"', path]);
    expect(await readTextFile(path, signal)).toBe("one\ntwo");
    const controller = new AbortController();
    const waiting = readTextFile(path, controller.signal);
    setImmediate(() => controller.abort());
    await expect(waiting).rejects.toMatchObject({ code: "ABORTED" });
  });
});

describe("readMessage", () => {
  const messageOf = (...lines: string[]) => {
    const asked: boolean[] = [];
    const next = async (isContinuation: boolean) => {
      asked.push(isContinuation);
      return lines.shift() ?? null;
    };
    return readMessage(next).then((message) => ({ message, asked }));
  };

  it("joins lines that end with a backslash", async () => {
    expect(await messageOf("a\\", "b\\", "c", "d")).toEqual({
      message: "a\nb\nc",
      asked: [false, true, true],
    });
    expect(await messageOf("a\\")).toEqual({ message: "a", asked: [false, true] });
    expect(await messageOf()).toEqual({ message: null, asked: [false] });
  });
});
