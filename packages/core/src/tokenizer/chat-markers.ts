/**
 * Keeps apart what a chat template says from what its users say. Before rendering, control tokens in the template's own
 * strings are replaced by private-use characters that occur nowhere else; after rendering only those become control
 * tokens again. Text from messages can then never become one, whatever filters it passes through.
 */
import { BitNetError } from "../base/errors.ts";
import {
  type AddedToken,
  beginsToken,
  createMatcher,
  longestMatch,
  splitAtTokens,
  type TokenMatcher,
} from "./added-tokens.ts";
import type { Tokenizer } from "./tokenizer.ts";

interface ChatMarkers {
  /** Replaces control tokens in a string of the template. */
  mark(literal: string): string;
  /** Splits a rendered text into plain text and ids of control tokens. */
  resolve(rendered: string): (string | number)[];
}

interface State {
  readonly matcher: TokenMatcher;
  /** Private-use characters that are still free. */
  readonly free: Iterator<string>;
  /** Marker ↔ the control token it stands for. */
  readonly tokenOf: Map<string, AddedToken>;
  readonly markerOf: Map<number, string>;
  /** Marker ↔ a character with which the template may begin a control token that it puts together while it runs. */
  readonly beginningOf: Map<string, string>;
  readonly markerOfBeginning: Map<string, string>;
}

const matchers = new WeakMap<Tokenizer, TokenMatcher>();
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** @param texts Everything that goes into the rendering; markers avoid its characters. */
export function createChatMarkers(tokenizer: Tokenizer, texts: readonly string[]): ChatMarkers {
  const state: State = {
    matcher: matcherOf(tokenizer),
    free: freeCharacters(texts),
    tokenOf: new Map(),
    markerOf: new Map(),
    beginningOf: new Map(),
    markerOfBeginning: new Map(),
  };
  const marked = new Map<string, string>();
  return {
    mark(literal) {
      const known = marked.get(literal) ?? markLiteral(state, literal);
      marked.set(literal, known);
      return known;
    },
    resolve: (rendered) => resolveMarkers(state, rendered),
  };
}

function matcherOf(tokenizer: Tokenizer): TokenMatcher {
  const known = matchers.get(tokenizer);
  if (known !== undefined) return known;
  const flags = { special: true, lstrip: false, rstrip: false, singleWord: false, normalized: false };
  const matcher = createMatcher(
    [...tokenizer.specialTokens].map(([content, id]) => ({ id, content, ...flags })),
  );
  matchers.set(tokenizer, matcher);
  return matcher;
}

function* freeCharacters(texts: readonly string[]): Generator<string, never> {
  const used = new Set<string>();
  for (const text of texts) {
    for (const [character] of text.matchAll(/[\ue000-\uf8ff]/g)) used.add(character);
    // A template may also spell a character as an escape.
    for (const [, code = ""] of text.matchAll(/\\u([ef][0-9a-f]{3})/gi)) {
      used.add(String.fromCharCode(Number.parseInt(code, 16)));
    }
  }
  for (let code = 0xe000; code <= 0xf8ff; code++) {
    const character = String.fromCharCode(code);
    if (!used.has(character)) yield character;
  }
  throw new BitNetError(
    "TEMPLATE_FAILED",
    "chat: the messages use nearly all private-use characters (U+E000 to U+F8FF), so that none are left to mark control tokens",
  );
}

function nextFree(state: State): string {
  return state.free.next().value;
}

function markLiteral(state: State, literal: string): string {
  const bytes = encoder.encode(literal);
  let marked = "";
  let plain = "";
  splitAtTokens(state.matcher, bytes, 0, bytes.length, {
    text(start, end) {
      plain = decoder.decode(bytes.subarray(start, end));
      marked += plain;
    },
    token(token) {
      plain = "";
      marked += markerOfToken(state, token);
    },
  });
  return marked.slice(0, marked.length - plain.length) + markBeginning(state, plain);
}

function markerOfToken(state: State, token: AddedToken): string {
  const known = state.markerOf.get(token.id);
  if (known !== undefined) return known;
  const marker = nextFree(state);
  state.markerOf.set(token.id, marker);
  state.tokenOf.set(marker, token);
  return marker;
}

/** Longest beginning of a control token that is looked for at the end of a string. */
const maxBeginning = 64;

/**
 * Some templates put control tokens together, as in `'<|' + role + '|>'`. Where a string ends with the first two or more
 * characters of a control token, its first character is marked, so that it may begin one.
 */
function markBeginning(state: State, text: string): string {
  for (let at = Math.max(0, text.length - maxBeginning); at <= text.length - 2; at++) {
    const bytes = encoder.encode(text.slice(at));
    if (!beginsToken(state.matcher, bytes, 0, bytes.length)) continue;
    const character = text[at] ?? "";
    const marker = state.markerOfBeginning.get(character) ?? nextFree(state);
    state.markerOfBeginning.set(character, marker);
    state.beginningOf.set(marker, character);
    return text.slice(0, at) + marker + text.slice(at + 1);
  }
  return text;
}

function resolveMarkers(state: State, rendered: string): (string | number)[] {
  const segments: (string | number)[] = [];
  let text = "";
  const push = (id: number) => {
    if (text !== "") segments.push(text);
    text = "";
    segments.push(id);
  };
  for (let at = 0; at < rendered.length; at++) {
    const character = rendered[at] ?? "";
    const token = state.tokenOf.get(character) ?? composedToken(state, rendered, at);
    if (token === null) {
      text += state.beginningOf.get(character) ?? character;
      continue;
    }
    push(token.id);
    if (!state.tokenOf.has(character)) at += token.content.length - 1;
  }
  if (text !== "") segments.push(text);
  return segments;
}

/** The control token that starts with the marked beginning at `at`, if the text goes on as one. */
function composedToken(state: State, rendered: string, at: number): AddedToken | null {
  const first = state.beginningOf.get(rendered[at] ?? "");
  if (first === undefined) return null;
  const bytes = encoder.encode(first + rendered.slice(at + 1, at + 512));
  return longestMatch(state.matcher, bytes, 0, bytes.length)?.token ?? null;
}
