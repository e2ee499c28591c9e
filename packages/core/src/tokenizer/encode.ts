/**
 * Text to token ids: added tokens first, then pieces, then merging inside each piece. Knows nothing of files or of how a
 * tokenizer was made.
 */
import { BitNetError } from "../base/errors.ts";
import { type AddedToken, createMatcher, splitAtTokens, type TokenMatcher } from "./added-tokens.ts";
import { type Bpe, createIdList, type EncodeStats, type IdList, mergePiece, pushId } from "./bpe.ts";
import type { Pipeline } from "./pipeline.ts";
import { forEachPiece } from "./split-steps.ts";
import { segmentPiece, type Unigram } from "./unigram.ts";
import { findToken, type Vocabulary } from "./vocabulary.ts";

export interface EncodeOptions {
  /** Recognise control tokens written out in the text. Off by default: text of users must not become control tokens. */
  special?: boolean;
  /** Put the beginning-of-text token first. Off by default. */
  bos?: boolean;
  /** Receives counts of the work done. */
  stats?: EncodeStats;
}

/** What encoding needs of a tokenizer. */
export interface Encoder extends Bpe {
  readonly name: string;
  readonly vocabulary: Vocabulary;
  readonly pipeline: Pipeline;
  /** Present where pieces are segmented by probability instead of merged. */
  readonly unigram?: Unigram;
  /** A piece that is itself a token is taken whole, whether merges lead there or not. */
  readonly ignoreMerges: boolean;
  readonly bosId: number | null;
  /** Tokens that are looked for before splitting, by id. */
  readonly added: ReadonlyMap<number, AddedToken>;
  /** Passes of added tokens with control tokens off and on; built when first needed. */
  plainPasses?: readonly [TokenMatcher, TokenMatcher];
  specialPasses?: readonly [TokenMatcher, TokenMatcher];
}

const maxTextBytes = 2 ** 27;
const utf8 = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** @throws BitNetError INVALID_ARGUMENT unless `id` is in the vocabulary. */
export function checkedId({ tokens }: Vocabulary, id: number): number {
  if (Number.isInteger(id) && id >= 0 && id < tokens.count) return id;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `tokenizer: token ids must be whole numbers from 0 to ${tokens.count - 1}, found ${id}`,
    { details: { id, count: tokens.count } },
  );
}

/** See `Tokenizer.encode`. */
export function encodeText(encoder: Encoder, text: string, options: EncodeOptions): Int32Array {
  const out = createIdList();
  if (options.bos === true) {
    const { bosId, name } = encoder;
    if (bosId === null) {
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `${name}: has no beginning-of-text token; encode without \`bos\``,
      );
    }
    pushId(out, bosId);
  }
  const before = encoder.scratch.heapSteps;
  encodeInto(encoder, text, { special: options.special === true, isFirst: true, out });
  if (options.stats !== undefined) options.stats.heapSteps += encoder.scratch.heapSteps - before;
  return out.ids.slice(0, out.length);
}

interface Target {
  /** Control tokens written out in the text become control tokens. */
  readonly special: boolean;
  /** Nothing stands before the text. */
  readonly isFirst: boolean;
  readonly out: IdList;
}

function encodeInto(encoder: Encoder, text: string, { special, isFirst, out }: Target): void {
  if (text.length === 0) return;
  const bytes = encodeUtf8(text);
  const [exact, normalized] = passes(encoder, special);
  splitAtTokens(exact, bytes, 0, bytes.length, {
    token: (token) => pushId(out, token.id),
    text(start, end) {
      const changed = change(encoder.pipeline.normalise, bytes, start, end);
      splitAtTokens(normalized, changed.bytes, changed.start, changed.end, {
        token: (token) => pushId(out, token.id),
        text(from, to) {
          const atStart = isFirst && start === 0 && from === changed.start;
          const { prepare } = encoder.pipeline;
          const prepared = change(prepare && ((part) => prepare(part, atStart)), changed.bytes, from, to);
          encodePieces(encoder, prepared, out);
        },
      });
    },
  });
}

/** Part of a buffer. */
interface Part {
  bytes: Uint8Array;
  start: number;
  end: number;
}

function change(
  action: ((text: string) => string) | null,
  bytes: Uint8Array,
  start: number,
  end: number,
): Part {
  if (action === null) return { bytes, start, end };
  const changed = encodeUtf8(action(textDecoder.decode(bytes.subarray(start, end))));
  return { bytes: changed, start: 0, end: changed.length };
}

function encodeUtf8(text: string): Uint8Array {
  // Each UTF-16 unit gives at least one byte: refuse before allocating.
  const bytes = text.length > maxTextBytes ? null : utf8.encode(text);
  if (bytes !== null && bytes.length <= maxTextBytes) return bytes;
  const size = bytes === null ? `${text.length} characters` : `${bytes.length} bytes`;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `tokenizer: the text has ${size}, at most ${maxTextBytes} bytes can be encoded at once; encode it in parts`,
  );
}

/** Tokens that are not normalized are looked for first, the others in what is left, in the form that text has by then. */
function passes(encoder: Encoder, special: boolean): readonly [TokenMatcher, TokenMatcher] {
  const known = special ? encoder.specialPasses : encoder.plainPasses;
  if (known !== undefined) return known;
  const wanted = [...encoder.added.values()].filter((token) => special || !token.special);
  const { normalise } = encoder.pipeline;
  const exact = createMatcher(wanted.filter((token) => !token.normalized));
  const normalized = createMatcher(
    wanted
      .filter((token) => token.normalized)
      .map((token) => (normalise === null ? token : { ...token, content: normalise(token.content) }))
      .filter((token) => token.content !== ""),
  );
  if (special) encoder.specialPasses = [exact, normalized];
  else encoder.plainPasses = [exact, normalized];
  return [exact, normalized];
}

function encodePieces(encoder: Encoder, { bytes, start, end }: Part, out: IdList): void {
  forEachPiece(encoder.pipeline.steps, bytes, start, end, (from, to) => {
    if (encoder.unigram !== undefined) {
      segmentPiece(encoder.unigram, bytes, from, to, out);
      return;
    }
    const whole = encoder.ignoreMerges ? findToken(encoder.vocabulary, bytes, from, to) : -1;
    if (whole >= 0) pushId(out, whole);
    else mergePiece(encoder, bytes, from, to, out);
  });
}

/** See `Tokenizer.encodeSegments`. */
export function encodeSegments(encoder: Encoder, segments: readonly (string | number)[]): Int32Array {
  const out = createIdList();
  let text = "";
  let stripStart = false;
  const flush = (stripEnd: boolean) => {
    if (stripStart) text = text.replace(/^\p{White_Space}+/u, "");
    if (stripEnd) text = withoutTrailingSpace(text);
    encodeInto(encoder, text, { special: false, isFirst: out.length === 0, out });
    text = "";
  };
  for (const segment of segments) {
    if (typeof segment === "string") {
      text += segment;
      continue;
    }
    const token = encoder.added.get(checkedId(encoder.vocabulary, segment));
    flush(token?.lstrip === true);
    pushId(out, segment);
    stripStart = token?.rstrip === true;
  }
  flush(false);
  return out.ids.slice(0, out.length);
}

/** `/\p{White_Space}+$/` is quadratic on white space inside the text. */
function withoutTrailingSpace(text: string): string {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1] ?? "")) end--;
  return text.slice(0, end);
}
