/** What of the contract a backend offers, and how a program is fitted to that. */
import { BitNetError } from "../base/errors.ts";
import { expandProgram } from "./expand.ts";
import type { OpName } from "./operations.ts";
import type { Program } from "./program.ts";

/**
 * The program in operations that a backend offers, fused ones that it lacks replaced by their definitions.
 * @throws BitNetError MODEL_UNSUPPORTED naming the operation that cannot be replaced.
 */
export function fitProgram(program: Program, backend: string, offered: readonly string[]): Program {
  const names = new Set(offered);
  try {
    return expandProgram(program, (name: OpName) => names.has(name));
  } catch (cause) {
    if (!(cause instanceof BitNetError)) throw cause;
    throw new BitNetError(
      "MODEL_UNSUPPORTED",
      `the ${backend} backend has no operation "${String(cause.details.operation)}", which "${program.name}" needs`,
      { cause, details: cause.details },
    );
  }
}
