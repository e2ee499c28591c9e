/** How the C++ engine says what went wrong (native/engine/failure.h), and the error that follows. */
import { BitNetError, type BitNetErrorCode } from "../../base/errors.ts";
import type { Program } from "../program.ts";

export interface EngineFailure {
  /** That of a BitNetError. */
  code: string;
  message: string;
  /** Index of the operation, and the row; −1 when the failure has no place. */
  op: number;
  row: number;
}

/** A failure with the operation and row that it names spelled out. `backend` begins the message. */
export function engineError(backend: string, failure: EngineFailure, program: Program): BitNetError {
  const { op: index, row, message } = failure;
  const op = program.ops[index];
  const code = failure.code as BitNetErrorCode;
  if (op === undefined) return new BitNetError(code, `${backend}: ${program.name}: ${message}`);
  const input = "x" in op ? (program.buffers[op.x]?.name ?? "") : "";
  const where = `operation ${index} (${op.op} of "${input}"), row ${row}`;
  return new BitNetError(code, `${backend}: ${program.name}: ${message} in ${where}`, {
    details: { row, op: op.op, index },
  });
}
