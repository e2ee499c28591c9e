/**
 * Where a continuation begins in token ids, and what stays when both are too long. Source: lm-evaluation-harness, `_encode_pair` and its
 * repairs (PR 63, issues 1053, 1297, 3336).
 */
import { BitNetError, type Tokenizer } from "@bitnet.ts/core";

export interface EncodedPair {
  /** Context and continuation. */
  readonly ids: Int32Array;
  /** Where the continuation begins; at least 1, at most the last. */
  readonly from: number;
}

export interface PairOptions {
  bos: boolean;
  contextLength: number;
}

/** @throws BitNetError INVALID_ARGUMENT for an empty continuation, CONTEXT_EXCEEDED for one that does not fit alone. */
export function encodePair(
  tokenizer: Tokenizer,
  context: string,
  continuation: string,
  { bos, contextLength }: PairOptions,
): EncodedPair {
  if (continuation === "") throw new BitNetError("INVALID_ARGUMENT", "evaluation: a continuation is empty");
  // Tokens begin with spaces and do not end with them.
  const trimmed = context.trimEnd();
  const rest = context.slice(trimmed.length) + continuation;
  const before = tokenizer.encode(trimmed);
  const whole = tokenizer.encode(trimmed + rest);
  const isPrefix = before.length < whole.length && before.every((id, i) => whole[i] === id);
  // A token that spans the join would be lost or score the context: then the continuation is encoded alone.
  const after = isPrefix ? whole.subarray(before.length) : tokenizer.encode(rest);
  const start = bos || before.length === 0 ? [prefixId(tokenizer)] : [];
  const head = [...start, ...before];
  const room = contextLength - after.length;
  if (room < 1) {
    throw new BitNetError(
      "CONTEXT_EXCEEDED",
      `evaluation: a continuation has ${after.length} tokens, but the context holds ${contextLength}`,
    );
  }
  // The end of the context matters most.
  const kept =
    head.length <= room
      ? head
      : [...start, ...head.slice(head.length - (room - start.length))].slice(0, room);
  return { ids: Int32Array.from([...kept, ...after]), from: kept.length };
}

/** What stands before an empty context: the beginning-of-text token, else the end-of-text token. */
export function prefixId({ bosId, eosIds }: Tokenizer): number {
  const id = bosId ?? eosIds[0];
  if (id === undefined)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      "evaluation: the tokenizer has neither a beginning nor an end token to start with",
    );
  return id;
}
