/**
 * SentencePiece's table of characters that become others (`precompiled_charsmap`): four bytes of length, a trie as a double array (darts-clone), and
 * the replacements, each with a zero byte behind it. SentencePiece takes the longest entry at each place; the tokenizers library goes by
 * graphemes, and takes the shortest entry that one of fewer than six bytes begins with for all of it. Knows nothing of files or tokens.
 * Source: normalizer.cc of SentencePiece; spm_precompiled, which the library uses.
 */
import { BitNetError } from "../base/errors.ts";
import type { TextChange } from "./normalise.ts";

export interface CharacterMap {
  readonly trie: Uint32Array;
  /** The replacement at each offset that was asked for. */
  readonly known: Map<number, string>;
  readonly replacements: Uint8Array;
}

/** Bytes of an entry that are looked at: far more than any character and its marks have. */
const maxEntryBytes = 64;
const utf8 = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** @throws BitNetError TOKENIZER_INVALID when the table is cut off or its replacements are no text. */
export function readCharacterMap(bytes: Uint8Array, where: string): CharacterMap {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const trieBytes = bytes.length < 4 ? Number.NaN : view.getUint32(0, true);
  if (!(trieBytes >= 4) || trieBytes % 4 !== 0 || 4 + trieBytes > bytes.length)
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `${where}: expected a table of characters, found ${bytes.length} bytes that are none or are cut off`,
    );
  const trie = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = bytes.slice(4 + trieBytes);
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(replacements);
  } catch (cause) {
    throw new BitNetError("TOKENIZER_INVALID", `${where}: the replacements are not UTF-8`, { cause });
  }
  return { trie, replacements, known: new Map() };
}

interface Match {
  /** Of the entry, in bytes. */
  length: number;
  replacement: string;
}

/** The shortest or the longest entry that `bytes[start, end)` begins with. */
function matchAt(
  map: CharacterMap,
  bytes: Uint8Array,
  { start, end, isShortest }: { start: number; end: number; isShortest: boolean },
): Match | null {
  const { trie } = map;
  let node = offsetOf(trie[0] ?? 0);
  let found: { length: number; value: number } | null = null;
  const last = Math.min(end, start + maxEntryBytes);
  for (let at = start; at < last; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0) break; // ends an entry
    node ^= byte;
    const unit = trie[node];
    if (unit === undefined || (unit & 0x800000ff) !== byte) break;
    node ^= offsetOf(unit);
    if ((unit & 0x100) === 0) continue;
    found = { length: at + 1 - start, value: (trie[node] ?? 0) & 0x7fffffff };
    if (isShortest) break;
  }
  return found && { length: found.length, replacement: replacementAt(map, found.value) };
}

/** From a unit to where its children are. */
function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >> 6);
}

function replacementAt({ known, replacements }: CharacterMap, offset: number): string {
  let text = known.get(offset);
  if (text === undefined) {
    const end = replacements.indexOf(0, offset);
    text = decoder.decode(replacements.subarray(offset, end < 0 ? replacements.length : end));
    known.set(offset, text);
  }
  return text;
}

/** As SentencePiece does it. */
export function byLongestEntry(map: CharacterMap): TextChange {
  return (text) => {
    const bytes = utf8.encode(text);
    const pieces: string[] = [];
    let kept = 0; // from here on nothing has changed
    for (let at = 0; at < bytes.length; ) {
      const match = matchAt(map, bytes, { start: at, end: bytes.length, isShortest: false });
      if (match === null) {
        at++;
        while (((bytes[at] ?? 0) & 0xc0) === 0x80) at++; // to the next character
        continue;
      }
      pieces.push(decoder.decode(bytes.subarray(kept, at)), match.replacement);
      at += match.length;
      kept = at;
    }
    pieces.push(decoder.decode(bytes.subarray(kept)));
    return pieces.join("");
  };
}

/** A grapheme of as many bytes is changed character by character. */
const longGraphemeBytes = 6;

/** As the tokenizers library does it. */
export function byGraphemes(map: CharacterMap): TextChange {
  const shortest = (bytes: Uint8Array) =>
    matchAt(map, bytes, { start: 0, end: bytes.length, isShortest: true })?.replacement;
  const changedCharacter = (character: string) => shortest(utf8.encode(character)) ?? character;
  const ofAscii = Array.from({ length: 128 }, (_, code) => changedCharacter(String.fromCharCode(code)));
  return (text) => {
    const pieces: string[] = [];
    forEachGrapheme(text, {
      ascii: (code) => pieces.push(ofAscii[code] ?? ""),
      grapheme(grapheme, isPart) {
        const bytes = utf8.encode(grapheme);
        const whole = isPart || bytes.length >= longGraphemeBytes ? undefined : shortest(bytes);
        if (whole !== undefined) pieces.push(whole);
        else for (const character of grapheme) pieces.push(changedCharacter(character));
      },
    });
    return pieces.join("");
  };
}

/** Engines take time for a grapheme that grows with the text they are given: they get it in windows. */
const windowLength = 128;

interface GraphemeVisitor {
  ascii(code: number): void;
  /** @param isPart It is a part of a grapheme that is longer than a window. */
  grapheme(text: string, isPart: boolean): void;
}

function forEachGrapheme(text: string, visit: GraphemeVisitor): void {
  const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
  let isInside = false; // of a grapheme that began before
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    const next = at + 1 < text.length ? text.charCodeAt(at + 1) : 0;
    if (!isInside && code < 0x80 && next < 0x80 && code !== 0x0d) {
      visit.ascii(code);
      at++;
      continue;
    }
    const window = text.slice(at, at + windowLength);
    const isLast = at + window.length === text.length;
    const graphemes = Array.from(segmenter.segment(window), ({ segment }) => segment);
    // The last one may go on behind the window.
    const rest = isLast ? "" : (graphemes.pop() ?? "");
    for (const grapheme of graphemes) {
      visit.grapheme(grapheme, isInside);
      isInside = false;
    }
    at += window.length - rest.length;
    if (rest.length < window.length) continue;
    // The window holds no whole one: all of it but its last character, which shows what follows to belong to it.
    const last = Array.from(rest).at(-1) ?? "";
    visit.grapheme(rest.slice(0, -last.length), true);
    at += rest.length - last.length;
    isInside = true;
  }
}
