import { describe, expect, it } from "vitest";
import { byteStringAt, byteStringsFrom, isByteStrings, stringAt } from "./byte-strings.ts";

describe("byte strings", () => {
  const texts = ["", "a", "日本語", "\ufeffbom", "🙂", "", "x".repeat(1000)];

  it("gives every string back", () => {
    const table = byteStringsFrom(texts);
    expect(table.count).toBe(texts.length);
    expect(texts.map((_, index) => stringAt(table, index))).toEqual(texts);
    expect([...byteStringAt(table, 2)]).toEqual([...new TextEncoder().encode("日本語")]);
    expect(table.offsets[table.count]).toBe(table.bytes.length);
  });

  it("holds an empty list", () => {
    const table = byteStringsFrom([]);
    expect([table.count, table.bytes.length, [...table.offsets]]).toEqual([0, 0, [0]]);
  });

  it("replaces lone surrogates", () => {
    expect(stringAt(byteStringsFrom(["a\ud800b"]), 0)).toBe("a\ufffdb");
  });

  it("is told from other values", () => {
    expect(isByteStrings(byteStringsFrom(texts))).toBe(true);
    for (const other of [
      null,
      undefined,
      texts,
      3,
      {},
      { bytes: new Uint8Array(1), offsets: [0], count: 0 },
    ]) {
      expect(isByteStrings(other)).toBe(false);
    }
  });
});
