/** Perplexity of a text per token, word and byte, from one sum of log-likelihoods. */
import { BitNetError } from "@bitnet.ts/core";
import type { EvalModel, PerplexityMode } from "./models/eval-model.ts";

export interface PerplexityReport {
  readonly mode: PerplexityMode;
  readonly nTokens: number;
  readonly tokenPerplexity: number;
  /** Of the whole text: null in chunks, where half of it is not scored. */
  readonly wordPerplexity: number | null;
  readonly bytePerplexity: number | null;
  readonly bitsPerByte: number | null;
  readonly settings: EvalModel["settings"];
}

/** @throws BitNetError INVALID_ARGUMENT for a model that cannot tell, or a text too short to score. */
export async function perplexityReport(
  model: EvalModel,
  text: string,
  mode: PerplexityMode,
): Promise<PerplexityReport> {
  if (model.perplexity === null)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${model.name}: perplexity needs a loaded model, not an endpoint`,
    );
  const { sum, nTokens } = await model.perplexity(text, mode);
  if (nTokens === 0)
    throw new BitNetError("INVALID_ARGUMENT", "perplexity: the text is too short to score in this mode");
  const whole = (units: number) => (mode === "rolling" && units > 0 ? Math.exp(-sum / units) : null);
  const nBytes = new TextEncoder().encode(text).length;
  return {
    mode,
    nTokens,
    tokenPerplexity: Math.exp(-sum / nTokens),
    wordPerplexity: whole(text.split(/\s+/).length),
    bytePerplexity: whole(nBytes),
    bitsPerByte: mode === "rolling" ? -sum / Math.LN2 / nBytes : null,
    settings: model.settings,
  };
}
