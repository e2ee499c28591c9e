/**
 * A whole recipe with all its stages at a share of its size, to see that it works in one piece before hours have passed. Shape and
 * sources stay; there are fewer steps of fewer tokens, and the tokenizer and evaluation see fewer examples.
 */
import type { Recipe } from "./recipe.ts";
import { defaultHeldOut } from "./recipe-source.ts";

/** @param share Of the tokens of every stage: in (0, 1]. Steps and tokens of a step both shrink by its root. */
export function shrinkRecipe(recipe: Recipe, share: number): Recipe {
  const root = Math.sqrt(share);
  const scaled = (n: number, factor: number) => Math.max(1, Math.round(n * factor));
  const warmup = (steps: number) => Math.round(steps * root);
  return {
    ...recipe,
    tokens: scaled(recipe.tokens, share),
    batchTokens: scaled(recipe.batchTokens, root),
    tokenizer: { ...recipe.tokenizer, samples: scaled(recipe.tokenizer.samples, root) },
    sources: recipe.sources.map((source) => ({
      ...source,
      heldOut: Math.ceil((source.heldOut ?? defaultHeldOut) * root),
    })),
    schedule: { ...recipe.schedule, warmupSteps: warmup(recipe.schedule.warmupSteps) },
    extensions: recipe.extensions.map(({ tokens, decayTokens, schedule, ...rest }) => ({
      ...rest,
      tokens: scaled(tokens, share),
      ...(decayTokens === undefined ? {} : { decayTokens: scaled(decayTokens, share) }),
      schedule: { ...schedule, warmupSteps: warmup(schedule.warmupSteps) },
    })),
  };
}
