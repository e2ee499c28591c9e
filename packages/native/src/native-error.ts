/**
 * Errors of the addon as BitNetErrors. The addon throws errors with a `code`, or answers with a failure record where it
 * ran off the JavaScript thread; both codes are those of BitNetError.
 */
import { BitNetError, type BitNetErrorCode, type Program } from "@bitnet.ts/core";
import type { NativeFailure } from "./binding.ts";

/** Runs a call into the addon. @throws BitNetError */
export function callNative<T>(call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const { code, message } = cause as { code?: unknown; message?: unknown };
    if (typeof code !== "string") throw cause;
    throw new BitNetError(code as BitNetErrorCode, `native: ${String(message)}`, { cause });
  }
}

/** A failure with the operation and row that it names spelled out. */
export function failureError(failure: NativeFailure, program: Program): BitNetError {
  const { op: index, row, message } = failure;
  const op = program.ops[index];
  const code = failure.code as BitNetErrorCode;
  if (op === undefined) return new BitNetError(code, `native: ${program.name}: ${message}`);
  const input = "x" in op ? (program.buffers[op.x]?.name ?? "") : "";
  const where = `operation ${index} (${op.op} of "${input}"), row ${row}`;
  return new BitNetError(code, `native: ${program.name}: ${message} in ${where}`, {
    details: { row, op: op.op, index },
  });
}
