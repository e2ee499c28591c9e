/**
 * Text to token ids: added tokens first, then pieces, then merging inside each piece. Knows nothing of files or of how a
 * tokenizer was made.
 */
import { BitNetError } from "../base/errors.ts";
import { type AddedToken, createMatcher, splitAtTokens, type TokenMatcher } from "./added-tokens.ts";
import { type Bpe, createIdList, type EncodeStats, type IdList, mergePiece, pushId } from "./bpe.ts";
import type { PieceScanner } from "./split.ts";
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
  readonly scan: PieceScanner;
  /** A piece that is itself a token is taken whole, whether merges lead there or not. */
  readonly ignoreMerges: boolean;
  readonly bosId: number | null;
  /** Tokens that are looked for before splitting, by id. */
  readonly added: ReadonlyMap<number, AddedToken>;
  /** Passes of added tokens with control tokens off and on; built when first needed. */
  plainPasses?: readonly TokenMatcher[];
  specialPasses?: readonly TokenMatcher[];
}

const maxTextBytes = 2 ** 27;
const utf8 = new TextEncoder();

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
  encodeInto(encoder, text, options.special === true, out);
  if (options.stats !== undefined) options.stats.heapSteps += encoder.scratch.heapSteps - before;
  return out.ids.slice(0, out.length);
}

function encodeInto(encoder: Encoder, text: string, special: boolean, out: IdList): void {
  if (text.length === 0) return;
  const bytes = encodeUtf8(text);
  runPasses(encoder, passes(encoder, special), bytes, { start: 0, end: bytes.length, out });
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

/** Tokens that are not normalized are looked for first, the others in what is left. */
function passes(encoder: Encoder, special: boolean): readonly TokenMatcher[] {
  const known = special ? encoder.specialPasses : encoder.plainPasses;
  if (known !== undefined) return known;
  const wanted = [...encoder.added.values()].filter((token) => special || !token.special);
  const matchers = [false, true]
    .map((normalized) => wanted.filter((token) => token.normalized === normalized))
    .filter((tokens) => tokens.length > 0)
    .map(createMatcher);
  if (special) encoder.specialPasses = matchers;
  else encoder.plainPasses = matchers;
  return matchers;
}

interface Range {
  start: number;
  end: number;
  out: IdList;
}

function runPasses(
  encoder: Encoder,
  matchers: readonly TokenMatcher[],
  bytes: Uint8Array,
  range: Range,
): void {
  const [matcher, ...later] = matchers;
  if (matcher === undefined) {
    encodePieces(encoder, bytes, range);
    return;
  }
  splitAtTokens(matcher, bytes, range.start, range.end, {
    text: (start, end) => runPasses(encoder, later, bytes, { start, end, out: range.out }),
    token: (token) => pushId(range.out, token.id),
  });
}

function encodePieces(encoder: Encoder, bytes: Uint8Array, { start, end, out }: Range): void {
  for (let at = start; at < end; ) {
    const pieceEnd = encoder.scan(bytes, at, end);
    const whole = encoder.ignoreMerges ? findToken(encoder.vocabulary, bytes, at, pieceEnd) : -1;
    if (whole >= 0) pushId(out, whole);
    else mergePiece(encoder, bytes, at, pieceEnd, out);
    at = pieceEnd;
  }
}

/** See `Tokenizer.encodeSegments`. */
export function encodeSegments(encoder: Encoder, segments: readonly (string | number)[]): Int32Array {
  const out = createIdList();
  let text = "";
  let stripStart = false;
  const flush = (stripEnd: boolean) => {
    if (stripStart) text = text.replace(/^\p{White_Space}+/u, "");
    if (stripEnd) text = withoutTrailingSpace(text);
    encodeInto(encoder, text, false, out);
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
