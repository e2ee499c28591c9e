import { describe, expect, it } from "vitest";
import { readMessage } from "./chat-input.ts";
import { readLines } from "./read-input.ts";

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
