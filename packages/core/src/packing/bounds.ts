/**
 * The checks that every packing makes on shapes, ranges and buffer lengths before it touches a byte. Knows no layout.
 */
import { BitNetError } from "../base/errors.ts";
import type { PackingId, TernaryShape } from "./packing.ts";

/** @throws BitNetError FORMAT_UNSUPPORTED. */
export function refuseShape(id: PackingId, shape: TernaryShape, reason: string): never {
  throw new BitNetError("FORMAT_UNSUPPORTED", `${id}: a tensor [${shape.rows}, ${shape.cols}] ${reason}`, {
    details: { packing: id, ...shape },
  });
}

/** rows · cols, once both are known to be positive and their product exact. */
export function elementCount(id: PackingId, shape: TernaryShape): number {
  const { rows, cols } = shape;
  const isCount = (n: number) => Number.isSafeInteger(n) && n > 0;
  if (!isCount(rows) || !isCount(cols) || !isCount(rows * cols)) {
    refuseShape(id, shape, "has no elements or too many");
  }
  return rows * cols;
}

/** @throws BitNetError FORMAT_TRUNCATED when a tensor's bytes are fewer than its layout takes. */
export function checkBytes(id: PackingId, bytes: Uint8Array, needed: number): void {
  if (bytes.byteLength < needed) {
    throw new BitNetError("FORMAT_TRUNCATED", `${id}: expected ${needed} bytes, found ${bytes.byteLength}`, {
      details: { packing: id, needed, found: bytes.byteLength },
    });
  }
}

/** Checks the arguments of `unpackRows`. */
export function checkRows(
  id: string,
  shape: TernaryShape,
  first: number,
  count: number,
  outLength: number,
): void {
  const inside = Number.isSafeInteger(first) && Number.isSafeInteger(count) && first >= 0 && count >= 0;
  if (!inside || first + count > shape.rows) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${id}: rows ${first}…${first + count} were asked for, but the tensor has ${shape.rows}`,
    );
  }
  if (outLength < count * shape.cols) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${id}: ${count} rows of ${shape.cols} need ${count * shape.cols} elements, the output holds ${outLength}`,
    );
  }
}

/** Checks the trits given to `pack`: as many as the shape says, each −1, 0 or +1. */
export function checkTrits(id: PackingId, trits: Int8Array, shape: TernaryShape): void {
  if (trits.length !== shape.rows * shape.cols) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${id}: expected ${shape.rows * shape.cols} trits for [${shape.rows}, ${shape.cols}], found ${trits.length}`,
    );
  }
  for (let i = 0; i < trits.length; i++) {
    const trit = trits[i] ?? 0;
    if (trit === 0 || trit === 1 || trit === -1) continue;
    throw new BitNetError("INVALID_ARGUMENT", `${id}: element ${i} is ${trit}, expected −1, 0 or 1`);
  }
}
