import { describe, expect, it } from "vitest";
import { unspell } from "./byte-alphabet.ts";

function unspellText(text: string): number[] | null {
  const source = new TextEncoder().encode(text);
  const target = new Uint8Array(source.length + 2);
  const end = unspell(source, 0, source.length, target, 2);
  return end < 0 ? null : [...target.subarray(2, end)];
}

describe("GPT-2 byte alphabet", () => {
  it("knows the published spellings", () => {
    expect(unspellText("Ġthe")).toEqual([0x20, 0x74, 0x68, 0x65]);
    expect(unspellText("Ċĉč")).toEqual([0x0a, 0x09, 0x0d]);
    expect(unspellText("Ã©")).toEqual([0xc3, 0xa9]);
    expect(unspellText("ĀġĢłŃ")).toEqual([0x00, 0x7f, 0x80, 0xa0, 0xad]);
    expect(unspellText("")).toEqual([]);
  });

  it("covers every byte once", () => {
    const found = new Map<number, number>();
    for (let codePoint = 0; codePoint < 0x400; codePoint++) {
      const bytes = unspellText(String.fromCodePoint(codePoint));
      if (bytes === null) continue;
      expect(bytes.length).toBe(1);
      found.set(bytes[0] ?? -1, codePoint);
    }
    expect(found.size).toBe(256);
  });

  it("refuses characters outside it", () => {
    for (const text of ["a b", "\n", "ń", "日", "🙂", "\u00a0", "\u00ad", "\u007f"])
      expect(unspellText(text), text).toBeNull();
  });

  it("refuses malformed UTF-8", () => {
    const target = new Uint8Array(8);
    for (const bytes of [[0xc4], [0xc4, 0x20], [0xc1, 0xa1], [0x80], [0xe0, 0x80, 0x80]]) {
      expect(unspell(Uint8Array.from(bytes), 0, bytes.length, target, 0)).toBe(-1);
    }
  });
});
