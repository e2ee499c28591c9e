/**
 * Finds added tokens (control tokens and others that are taken whole) in UTF-8 text: leftmost first, longest of those
 * that start together, with the strip and single-word flags of tokenizer.json. Knows nothing of merging.
 * Behaviour: `AddedVocabulary` of the Hugging Face tokenizers library.
 */
import { BitNetError } from "../base/errors.ts";
import { charLength, isWordChar, previousChar, skipSpace, skipSpaceBack } from "./char-class.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** A control token: found only when special tokens are asked for. */
  readonly special: boolean;
  /** Takes the white space before (after) it along. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Only where no word character touches it. */
  readonly singleWord: boolean;
  /** Looked for after all tokens that are not, in what they leave. */
  readonly normalized: boolean;
}

/** A trie over the bytes of the tokens. */
export interface TokenMatcher {
  readonly tokens: readonly AddedToken[];
  /** 1 where some token starts with this byte. */
  readonly starts: Uint8Array; // [256]
  /** node · 256 + byte → node; the root is 0. */
  readonly edges: ReadonlyMap<number, number>;
  /** node → index of the token that ends there. */
  readonly ends: ReadonlyMap<number, number>;
}

/** Far above what models have; they keep the trie and each search small whatever a file says. */
export const maxAddedTokens = 65_536;
const maxAddedLength = 170;
const maxTotalLength = 1_000_000;

/** @throws BitNetError TOKENIZER_INVALID when there are too many, or one is empty or too long. */
export function checkAddedTokens(tokens: readonly AddedToken[], name: string): void {
  const total = tokens.reduce((sum, { content }) => sum + content.length, 0);
  if (tokens.length > maxAddedTokens || total > maxTotalLength) {
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `${name}: has ${tokens.length} control and added tokens of ${total} characters, ` +
        `at most ${maxAddedTokens} of ${maxTotalLength} are supported`,
    );
  }
  for (const { id, content } of tokens) {
    if (content.length > 0 && content.length <= maxAddedLength) continue;
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `${name}: added token ${id} must have 1 to ${maxAddedLength} characters, found ${content.length}`,
      { details: { id } },
    );
  }
}

export function createMatcher(tokens: readonly AddedToken[]): TokenMatcher {
  const starts = new Uint8Array(256);
  const edges = new Map<number, number>();
  const ends = new Map<number, number>();
  const encoder = new TextEncoder();
  let nodes = 1;
  for (const [index, { content }] of tokens.entries()) {
    let node = 0;
    const bytes = encoder.encode(content);
    starts[bytes[0] ?? 0] = 1;
    for (const byte of bytes) {
      const edge = node * 256 + byte;
      const child = edges.get(edge);
      node = child ?? nodes++;
      if (child === undefined) edges.set(edge, node);
    }
    if (!ends.has(node)) ends.set(node, index);
  }
  return { tokens, starts, edges, ends };
}

/** A stretch of text between matches, and a match. */
interface SegmentSink {
  text(start: number, end: number): void;
  token(token: AddedToken): void;
}

/** Cuts `bytes[start, end)` at the matcher's tokens and hands the parts to `sink` in order. */
export function splitAtTokens(
  matcher: TokenMatcher,
  bytes: Uint8Array,
  start: number,
  end: number,
  sink: SegmentSink,
): void {
  let pending = start;
  for (let at = start; at < end; ) {
    const match = matcher.starts[bytes[at] ?? 0] === 1 ? longestMatch(matcher, bytes, at, end) : null;
    if (match === null) {
      at += charLength(bytes[at] ?? 0);
      continue;
    }
    const { token, stop } = match;
    if (token.singleWord && touchesWord(bytes, at, stop, start, end)) {
      at = stop;
      continue;
    }
    const from = token.lstrip && at > pending ? skipSpaceBack(bytes, at, pending) : at;
    if (from > pending) sink.text(pending, from);
    sink.token(token);
    pending = Math.max(pending, token.rstrip ? skipSpace(bytes, stop, end) : stop);
    // White space that was taken along may still hold a token of white space.
    at = stop;
  }
  if (end > pending) sink.text(pending, end);
}

/** The longest token that starts at `at`. */
export function longestMatch(
  matcher: TokenMatcher,
  bytes: Uint8Array,
  at: number,
  end: number,
): { token: AddedToken; stop: number } | null {
  let node: number | undefined = 0;
  let found: AddedToken | undefined;
  let stop = at;
  for (let position = at; position < end; ) {
    node = matcher.edges.get(node * 256 + (bytes[position++] ?? 0));
    if (node === undefined) break;
    const index = matcher.ends.get(node);
    if (index === undefined) continue;
    found = matcher.tokens[index];
    stop = position;
  }
  return found === undefined ? null : { token: found, stop };
}

/** Whether `bytes[at, end)` is the beginning of a longer token. */
export function beginsToken(matcher: TokenMatcher, bytes: Uint8Array, at: number, end: number): boolean {
  let node: number | undefined = 0;
  for (let position = at; position < end; position++) {
    node = matcher.edges.get(node * 256 + (bytes[position] ?? 0));
    if (node === undefined) return false;
  }
  return true;
}

function touchesWord(bytes: Uint8Array, at: number, stop: number, start: number, end: number): boolean {
  return (
    (at > start && isWordChar(bytes, previousChar(bytes, at))) || (stop < end && isWordChar(bytes, stop))
  );
}
