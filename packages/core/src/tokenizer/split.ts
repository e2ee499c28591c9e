/**
 * Splits text into the pieces inside which byte pairs merge: the rules of GPT-2, Llama 3, Qwen 2 and GPT-4o, written as
 * scanners over UTF-8 because the regular expressions they stand for backtrack quadratically on long white space. Each character is
 * looked at a bounded number of times. Knows nothing of vocabularies.
 * Sources: the patterns in openai/gpt-2 encoder.py and in Llama 3's tokenizer.json (`knownPatterns` spells them out).
 */
import { caseAt, charClass, charLength, classAt, letterCase, skipSpace } from "./char-class.ts";

export type SplitRule = "llama-3" | "gpt-2" | "qwen-2" | "gpt-4o";

/**
 * End of the piece that starts at `position`.
 * @param bytes Valid UTF-8; `position` < `end`, both between characters.
 */
export type PieceScanner = (bytes: Uint8Array, position: number, end: number) => number;

const contractions = "'s|'t|'re|'ve|'m|'ll|'d";
const gpt2Rest = String.raw` ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

/** The regular expressions that tokenizer.json files spell these rules with. */
export const knownPatterns: ReadonlyMap<string, SplitRule> = new Map<string, SplitRule>([
  [llamaPattern("{1,3}"), "llama-3"],
  [llamaPattern(""), "qwen-2"],
  [`${contractions}|${gpt2Rest}`, "gpt-2"],
  [`'(?:[sdmt]|ll|ve|re)|${gpt2Rest}`, "gpt-2"],
  [
    String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:${contractions})?` +
      String.raw`|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:${contractions})?` +
      String.raw`|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    "gpt-4o",
  ],
]);

/** Llama 3's pattern; Qwen 2's differs in how many digits go together. */
function llamaPattern(digits: string): string {
  return (
    `(?i:${contractions})|` +
    String.raw`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
  );
}

const scanners: Readonly<Record<SplitRule, PieceScanner>> = {
  "gpt-2": gpt2Piece,
  "llama-3": (bytes, position, end) => llamaPiece(bytes, position, end, 3),
  "qwen-2": (bytes, position, end) => llamaPiece(bytes, position, end, 1),
  "gpt-4o": gpt4oPiece,
};

export function pieceScanner(rule: SplitRule): PieceScanner {
  return scanners[rule];
}

function llamaPiece(bytes: Uint8Array, position: number, end: number, maxDigits: number): number {
  const contraction = contractionEnd(bytes, position, end, true);
  if (contraction > position) return contraction;
  const kind = classAt(bytes, position);
  const next = position + charLength(bytes[position] ?? 0);
  if (kind === charClass.letter) return skipClass(bytes, next, end, charClass.letter);
  if (kind === charClass.number) return skipNumbers(bytes, next, end, maxDigits);
  if (kind !== charClass.newline && next < end && classAt(bytes, next) === charClass.letter) {
    return skipClass(bytes, next, end, charClass.letter);
  }
  const symbols = symbolsStart(bytes, position, end);
  if (symbols >= 0) {
    const symbolsEnd = skipClass(bytes, symbols, end, charClass.other);
    return skipClass(bytes, symbolsEnd, end, charClass.newline);
  }
  return spacePiece(bytes, position, end);
}

/** `\s*[\r\n]+|\s+(?!\S)|\s+` at white space. */
function spacePiece(bytes: Uint8Array, position: number, end: number): number {
  const spaceEnd = skipSpace(bytes, position, end);
  const lineEnd = lastNewline(bytes, position, spaceEnd);
  return lineEnd > position ? lineEnd : withoutLast(bytes, position, spaceEnd, end);
}

function gpt4oPiece(bytes: Uint8Array, position: number, end: number): number {
  const word = casedWord(bytes, position, end);
  if (word > position) return contractionEnd(bytes, word, end, true);
  const kind = classAt(bytes, position);
  const next = position + charLength(bytes[position] ?? 0);
  if (kind === charClass.number) return skipNumbers(bytes, next, end, 3);
  const symbols = symbolsStart(bytes, position, end);
  if (symbols < 0) return spacePiece(bytes, position, end);
  let at = skipClass(bytes, symbols, end, charClass.other);
  while (at < end && (bytes[at] === 10 || bytes[at] === 13 || bytes[at] === 0x2f)) at++;
  return at;
}

/**
 * The word at `position`, with one character before it that is neither letter, number nor line end: upper-case letters, then
 * lower-case ones, or else upper-case ones alone; letters without case and marks count as either. Each way is tried with
 * the character before it first. @returns Its end, or `position` when there is none.
 */
function casedWord(bytes: Uint8Array, position: number, end: number): number {
  const kind = classAt(bytes, position);
  const mayLead = kind === charClass.other || kind === charClass.space;
  const next = position + charLength(bytes[position] ?? 0);
  const led = mayLead ? lowerEnd(bytes, next, end) : next;
  if (led > next) return led;
  const plain = lowerEnd(bytes, position, end);
  if (plain > position) return plain;
  const ledUpper = mayLead ? skipUpper(bytes, next, end) : next;
  return ledUpper > next ? ledUpper : skipUpper(bytes, position, end);
}

/** End of `[upper both]*[lower both]+`, or `position`. */
function lowerEnd(bytes: Uint8Array, position: number, end: number): number {
  let at = position;
  let lastBoth = position;
  while (at < end) {
    const kind = caseAt(bytes, at);
    if (kind !== letterCase.upper && kind !== letterCase.both) break;
    at += charLength(bytes[at] ?? 0);
    if (kind === letterCase.both) lastBoth = at;
  }
  if (at === end || caseAt(bytes, at) !== letterCase.lower) return lastBoth;
  while (at < end && caseAt(bytes, at) >= letterCase.lower) at += charLength(bytes[at] ?? 0);
  return at;
}

function skipUpper(bytes: Uint8Array, position: number, end: number): number {
  let at = position;
  while (at < end && (caseAt(bytes, at) & 1) === 1) at += charLength(bytes[at] ?? 0);
  return at;
}

function gpt2Piece(bytes: Uint8Array, position: number, end: number): number {
  const contraction = contractionEnd(bytes, position, end, false);
  if (contraction > position) return contraction;
  const start = bytes[position] === 0x20 && position + 1 < end ? position + 1 : position;
  const kind = classAt(bytes, start);
  if (kind < charClass.space) return skipClass(bytes, start, end, kind);
  return withoutLast(bytes, position, skipSpace(bytes, position, end), end);
}

/** `\s+(?!\S)|\s+` on the run `[position, spaceEnd)`: the last white space goes with the word after it, if it has a companion. */
function withoutLast(bytes: Uint8Array, position: number, spaceEnd: number, end: number): number {
  if (spaceEnd === end) return spaceEnd;
  let last = spaceEnd - 1;
  while (((bytes[last] ?? 0) & 0xc0) === 0x80) last--;
  return last > position ? last : spaceEnd;
}

/** Where the run of ` ?[^\s\p{L}\p{N}]+` begins, −1 when it does not match at `position`. */
function symbolsStart(bytes: Uint8Array, position: number, end: number): number {
  if (classAt(bytes, position) === charClass.other) return position;
  const next = position + 1;
  return bytes[position] === 0x20 && next < end && classAt(bytes, next) === charClass.other ? next : -1;
}

function skipClass(bytes: Uint8Array, position: number, end: number, kind: number): number {
  let at = position;
  while (at < end && classAt(bytes, at) === kind) at += charLength(bytes[at] ?? 0);
  return at;
}

/** Numbers in groups of at most `most`; `position` stands after the first. */
function skipNumbers(bytes: Uint8Array, position: number, end: number, most: number): number {
  let at = position;
  for (let count = 1; count < most && at < end && classAt(bytes, at) === charClass.number; count++) {
    at += charLength(bytes[at] ?? 0);
  }
  return at;
}

/** Position after the last `\r` or `\n` of `[position, spaceEnd)`, or `position` when there is none. */
function lastNewline(bytes: Uint8Array, position: number, spaceEnd: number): number {
  let at = spaceEnd;
  while (at > position && bytes[at - 1] !== 10 && bytes[at - 1] !== 13) at--;
  return at;
}

/**
 * End of `'s|'t|'re|'ve|'m|'ll|'d` at `position`, or `position`. Ignoring case also admits "ſ" (U+017F), whose upper case is S.
 */
function contractionEnd(bytes: Uint8Array, position: number, end: number, ignoreCase: boolean): number {
  if (bytes[position] !== 0x27 || position + 1 >= end) return position;
  const fold = ignoreCase ? 0x20 : 0;
  const first = bytes[position + 1] ?? 0;
  const second = position + 2 < end ? (bytes[position + 2] ?? 0) : 0;
  switch (String.fromCharCode(first | fold)) {
    case "s":
    case "t":
    case "m":
    case "d":
      return position + 2;
    case "r":
    case "v":
      return (second | fold) === 0x65 ? position + 3 : position;
    case "l":
      return (second | fold) === 0x6c ? position + 3 : position;
    default:
      return ignoreCase && first === 0xc5 && second === 0xbf ? position + 3 : position;
  }
}
