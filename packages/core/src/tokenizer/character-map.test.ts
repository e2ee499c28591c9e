/** What published pairs do not show of tables of characters: graphemes longer than what is looked at at once, and tables that lead astray. */
import { expect, it } from "vitest";
import { byGraphemes, byLongestEntry, readCharacterMap } from "./character-map.ts";
import { pairs } from "./published-pairs.test.kit.node.ts";

const table = Buffer.from(pairs.sentencePiece.models.mapped?.characters ?? "", "base64");

it("a grapheme of any length but the shortest is changed character by character", () => {
  const change = byGraphemes(readCharacterMap(table, "table"));
  const mark = "\u0344"; // becomes two marks
  expect(change(mark).length).toBe(2);
  for (let n = 3; n < 300; n++)
    expect(change(`a${mark.repeat(n)}`), `${n}`).toBe(`a${change(mark).repeat(n)}`);
  // Of a short one nothing but what the first character becomes is left.
  expect(change(mark.repeat(2))).toBe(change(mark));
});

it("a trie that leads in circles or nowhere ends", () => {
  const units = new Uint32Array(64);
  for (let seed = 1; seed < 200; seed++) {
    for (let i = 0, state = seed; i < units.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      units[i] = state % 3 === 0 ? state : (((state >>> 8) % 64) << 10) | 0x100 | (state % 128);
    }
    const head = Uint32Array.of(4 * units.length);
    const bytes = Buffer.concat([
      Buffer.from(head.buffer),
      Buffer.from(units.buffer),
      Buffer.from("x\0yz\0"),
    ]);
    const map = readCharacterMap(bytes, "table");
    for (const change of [byGraphemes(map), byLongestEntry(map)])
      expect(typeof change(`abc\u0301\u{1f642}${"~".repeat(300)}`)).toBe("string");
  }
});
