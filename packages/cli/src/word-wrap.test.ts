import { expect, it } from "vitest";
import { WordWrap } from "./word-wrap.ts";

function wrap(text: string, columns: number, size = text.length): string {
  const wrapper = new WordWrap(() => columns);
  let out = "";
  const characters = [...text];
  for (let i = 0; i < characters.length; i += size)
    out += wrapper.push(characters.slice(i, i + size).join(""));
  return out + wrapper.end();
}

it.each([
  ["the quick brown fox", 10, "the quick\nbrown fox"],
  ["the quick brown fox", 9, "the quick\nbrown fox"],
  ["  indented\nlist of things", 12, "  indented\nlist of\nthings"],
  ["an incomprehensibility", 10, "an incomprehensibility"],
  ["漢字漢字漢字", 5, "漢字\n漢字\n漢字"],
  ["a 👩‍👩‍👧 b 👩‍👩‍👧 c", 6, "a 👩‍👩‍👧 b\n👩‍👩‍👧 c"],
  ["keeps  two  spaces\n", 40, "keeps  two  spaces\n"],
  ["a\tword behind a tab", 12, "a\tword\nbehind a tab"],
  ["a\twords", 12, "a\nwords"],
  ["no limit at all", 0, "no limit at all"],
])("%j in %i cells", (text, columns, wrapped) => {
  expect(wrap(text, columns)).toBe(wrapped);
  for (const size of [1, 2, 3]) expect(wrap(text, columns, size)).toBe(wrapped);
});

it("follows a window that changes its size", () => {
  let columns = 20;
  const wrapper = new WordWrap(() => columns);
  const first = wrapper.push("one two three four ");
  columns = 10;
  expect(first + wrapper.push("five six seven ") + wrapper.end()).toBe(
    "one two three four\nfive six\nseven ",
  );
});
