/**
 * Pre-tokenizer steps that look for one kind of character: each finds matches, and what to do with them and with the text
 * between them is a choice of its own. Several steps refine one another. Knows nothing of vocabularies.
 * Behaviour: `Split`, `Digits`, `Punctuation` and `Metaspace` of the Hugging Face tokenizers library.
 */
import { charClass, charLength, classAt, codePointAt, isPunctuation } from "./char-class.ts";
import type { PieceScanner } from "./split.ts";

/** End of the match at `position`, or `position` when there is none. */
export type MatchEnd = (bytes: Uint8Array, position: number, end: number) => number;

/** What becomes of a match: a piece of its own, one with its neighbours that match, or one with the text before or after. */
export type SplitBehavior = "Isolated" | "Contiguous" | "MergedWithPrevious" | "MergedWithNext";

/**
 * @param matchEnd Must look at a bounded number of characters where it does not match.
 * @param unit What it looks at one by one.
 */
export function stepScanner(
  matchEnd: MatchEnd,
  behavior: SplitBehavior,
  unit: "character" | "byte" = "character",
): PieceScanner {
  const gapEnd: MatchEnd = (bytes, position, end) => {
    let at = position;
    while (at < end && matchEnd(bytes, at, end) === at)
      at += unit === "byte" ? 1 : charLength(bytes[at] ?? 0);
    return at;
  };
  switch (behavior) {
    case "Isolated":
      return (bytes, position, end) => {
        const stop = matchEnd(bytes, position, end);
        return stop > position ? stop : gapEnd(bytes, position, end);
      };
    case "Contiguous":
      return (bytes, position, end) => {
        let at = position;
        for (let stop = matchEnd(bytes, at, end); stop > at; stop = matchEnd(bytes, at, end)) at = stop;
        return at > position ? at : gapEnd(bytes, position, end);
      };
    case "MergedWithPrevious":
      return (bytes, position, end) => {
        const at = gapEnd(bytes, position, end);
        return at < end ? matchEnd(bytes, at, end) : end;
      };
    case "MergedWithNext":
      return (bytes, position, end) => gapEnd(bytes, matchEnd(bytes, position, end), end);
  }
}

/** A run of at most `most` characters that `isMember` takes. */
export function matchRun(
  isMember: (bytes: Uint8Array, position: number) => boolean,
  most = Number.POSITIVE_INFINITY,
): MatchEnd {
  return (bytes, position, end) => {
    let at = position;
    for (let count = 0; count < most && at < end && isMember(bytes, at); count++) {
      at += charLength(bytes[at] ?? 0);
    }
    return at;
  };
}

/** Exactly these bytes. */
export function matchLiteral(text: string): MatchEnd {
  const wanted = new TextEncoder().encode(text);
  return (bytes, position, end) => {
    if (position + wanted.length > end) return position;
    for (let i = 0; i < wanted.length; i++) if (bytes[position + i] !== wanted[i]) return position;
    return position + wanted.length;
  };
}

/** `[0-9][0-9][0-9]` */
export function matchThreeDigits(bytes: Uint8Array, position: number, end: number): number {
  if (position + 3 > end) return position;
  for (let at = position; at < position + 3; at++) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x30 || byte > 0x39) return position;
  }
  return position + 3;
}

export function isNumber(bytes: Uint8Array, position: number): boolean {
  return classAt(bytes, position) === charClass.number;
}

/** ASCII punctuation, symbols included, and `\p{P}`. */
export function isPunctuationMark(bytes: Uint8Array, position: number): boolean {
  const lead = bytes[position] ?? 0;
  if (lead >= 0x80) return isPunctuation(bytes, position);
  return (
    (lead >= 0x21 && lead <= 0x2f) ||
    (lead >= 0x3a && lead <= 0x40) ||
    (lead >= 0x5b && lead <= 0x60) ||
    (lead >= 0x7b && lead <= 0x7e)
  );
}

/** `[一-龥぀-ゟ゠-ヿ]`: Chinese characters and Japanese kana. */
export function isChineseOrKana(bytes: Uint8Array, position: number): boolean {
  const codePoint = codePointAt(bytes, position);
  return (codePoint >= 0x4e00 && codePoint <= 0x9fa5) || (codePoint >= 0x3040 && codePoint <= 0x30ff);
}

/** Bytes that GPT-2's alphabet spells with a numeric character, inside characters of several bytes too. */
export function isNumberByte(bytes: Uint8Array, position: number): boolean {
  const byte = bytes[position] ?? 0;
  return (byte >= 0x30 && byte <= 0x39) || [0xb2, 0xb3, 0xb9, 0xbc, 0xbd, 0xbe].includes(byte);
}

/**
 * Runs over the pieces of `bytes[start, end)` that the steps leave: each step splits what the one before it left.
 * @param piece Receives the borders of every piece, in order.
 */
export function forEachPiece(
  steps: readonly PieceScanner[],
  bytes: Uint8Array,
  start: number,
  end: number,
  piece: (start: number, end: number) => void,
  depth = 0,
): void {
  const step = steps[depth];
  if (step === undefined) {
    if (end > start) piece(start, end);
    return;
  }
  for (let at = start; at < end; ) {
    const stop = step(bytes, at, end);
    forEachPiece(steps, bytes, at, stop, piece, depth + 1);
    at = stop;
  }
}
