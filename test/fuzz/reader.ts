/** A reader under attack: how its inputs are damaged, and how it is asked to read them. */
import type { Random } from "./mutants.ts";

/** By name. */
export type Files = ReadonlyMap<string, Uint8Array>;

export interface FuzzedReader {
  readonly name: string;
  /** Mutants of one round. */
  readonly rounds: number;
  /** What it cannot read it leaves out, or does without. */
  readonly takesAnything?: boolean;
  mutant(random: Random): Files;
  /**
   * Returns whatever is read, or throws a BitNetError.
   * @param folder An empty one for readers that want paths.
   */
  read(files: Files, folder: string): Promise<void> | void;
}
