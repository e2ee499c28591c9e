/** Where a recipe takes examples from. */
import type { Example } from "../data/example.ts";
import type { TextMode } from "../data/parse-example.ts";

export const defaultHeldOut = 64;

export interface RecipeSource {
  name: string;
  /** Shares of the tokens in both stages, in any unit; those in extensions stand there. */
  shares: readonly [number, number];
  /** A file of examples … */
  path?: string;
  textMode?: TextMode;
  maxSamples?: number;
  /** … or a function that makes example `index`, always the same one for the same seed. */
  generate?: (seed: number, index: number) => Example;
  /** Examples kept for evaluation: the last ones of a file; of a generator, those of another seed. */
  heldOut?: number;
}
