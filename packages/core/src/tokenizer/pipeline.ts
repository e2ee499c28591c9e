/**
 * What surrounds the merging of a tokenizer: changes of the text before, the steps that split it, and how tokens become
 * text again. The readers of files make it; knows nothing of files.
 */
import { type ByteStrings, byteStringAt } from "../base/byte-strings.ts";
import type { TextChange } from "./normalise.ts";
import type { PieceScanner } from "./split.ts";
import { tokenKind } from "./vocabulary.ts";

export interface Pipeline {
  /** Applied to what lies between added tokens that are not normalized. */
  readonly normalise: TextChange | null;
  /** Applied after that to what lies between all added tokens; `isFirst`: the text begins with it. */
  readonly prepare: ((text: string, isFirst: boolean) => string) | null;
  readonly steps: readonly PieceScanner[];
}

/**
 * How a text begins that was encoded with a space in front of it: with that space; without it; or without any of the
 * spaces of its first token.
 */
export type LeadingSpace = "kept" | "dropped" | "dropped-from-token";

/** How plain tokens become text. */
export interface Decoding {
  /** The visible space is a space. */
  readonly showsSpaces: boolean;
  readonly leading: LeadingSpace;
}

/**
 * The bytes that each token shows as: visible spaces become spaces, byte tokens their byte.
 * @param changed Tokens that show as another text.
 */
export function shownTokens(
  { tokens, kinds }: { tokens: ByteStrings; kinds: Uint8Array },
  showsSpaces: boolean,
  changed: ReadonlyMap<number, Uint8Array>,
): ByteStrings {
  let length = tokens.bytes.length;
  for (const token of changed.values()) length += token.length;
  const bytes = new Uint8Array(length);
  const offsets = new Uint32Array(tokens.count + 1);
  let at = 0;
  for (let id = 0; id < tokens.count; id++) {
    const token = changed.get(id) ?? byteStringAt(tokens, id);
    if (kinds[id] === tokenKind.byte) bytes[at++] = byteOfToken(token) ?? 0;
    else {
      for (let i = 0; i < token.length; i++) {
        const isSpace = showsSpaces && token[i] === 0xe2 && token[i + 1] === 0x96 && token[i + 2] === 0x81;
        bytes[at++] = isSpace ? 0x20 : (token[i] ?? 0);
        if (isSpace) i += 2;
      }
    }
    offsets[id + 1] = at;
  }
  return { bytes: bytes.subarray(0, at), offsets, count: tokens.count };
}

/** The byte that `<0x41>` stands for, `null` for any other token. */
export function byteOfToken(token: Uint8Array): number | null {
  if (token.length !== 6) return null;
  const match = /^<0x([0-9A-F]{2})>$/.exec(String.fromCharCode(...token));
  return match === null ? null : Number.parseInt(match[1] ?? "", 16);
}
