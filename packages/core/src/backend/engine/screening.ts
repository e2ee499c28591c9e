/**
 * The engine's own: a copy of the head's table in int8, from which it finds the rows whose logits matter (docs/kernels.md, "The screened head").
 * Backends that run the engine have the option, and report what came of it.
 */
import type { Executable } from "../backend.ts";

export interface ScreeningOption {
  /**
   * Whether such a copy may be kept, made with the first step that has a use for it. Answers are the same either way, but for the
   * candidates that a `mass` request lists. Default true.
   */
  screening?: boolean;
}

/** How the head requests since loading were answered. */
export type ScreeningReport = {
  /** Of the private bytes: the copy; 0 before it is made. */
  bytes: number;
  /** From the copy and the exact logits of some rows. */
  screened: number;
  /** From the product with the whole table. */
  full: number;
  /** Rows computed exactly for those screened, all together. */
  candidates: number;
};

/** Undefined where something else than the engine runs the program. */
export function screeningOf(executable: Executable): ScreeningReport | undefined {
  const { screening } = executable.reports();
  return screening as ScreeningReport | undefined;
}
