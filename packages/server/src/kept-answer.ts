/** An answer that is kept, and as text, for other servers. */
import type { GenerationResult, TokenPiece } from "bitnet.ts";
import { isObject } from "./fields.ts";

export interface KeptAnswer {
  readonly pieces: readonly TokenPiece[];
  readonly result: GenerationResult;
}

/** Null for one that JSON would change: it holds numbers that JSON does not have. */
export function encodeAnswer({ pieces, result }: KeptAnswer): string | null {
  let isExact = true;
  const text = JSON.stringify({ pieces, result }, (_name, value: unknown) => {
    if (typeof value === "number" && !Number.isFinite(value)) isExact = false;
    return ArrayBuffer.isView(value)
      ? [...(value as unknown as ArrayLike<number> & Iterable<number>)]
      : value;
  });
  return isExact ? text : null;
}

/** Undefined for what no server has written. */
export function decodeAnswer(text: string): KeptAnswer | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isKept(value) ? value : undefined;
}

function isKept(value: unknown): value is KeptAnswer {
  if (!isObject(value) || !Array.isArray(value.pieces) || !isObject(value.result)) return false;
  const { text, stopReason, promptIds, ids, promptTokens, timings } = value.result;
  return (
    typeof text === "string" &&
    typeof stopReason === "string" &&
    [promptIds, ids].every((list) => Array.isArray(list) && list.every(Number.isSafeInteger)) &&
    Number.isSafeInteger(promptTokens) &&
    isObject(timings) &&
    value.pieces.every(
      (piece: unknown) => isObject(piece) && typeof piece.text === "string" && Number.isSafeInteger(piece.id),
    )
  );
}
