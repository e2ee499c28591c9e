/**
 * The windows that a text is scored in, in the ways of counting that published numbers come from. Knows no model.
 *
 * llama.cpp: chunks of the context's length that do not overlap; each begins with the beginning-of-text token in place of its first token,
 * and only its second half is scored; what does not fill a chunk is left out (tools/perplexity).
 * Hugging Face: windows that advance by a stride; a window scores the tokens that none before it has, with what precedes them in the window
 * as their context, so that with a stride below the window every token but the first is scored once ("Perplexity of fixed-length models").
 * Rolling, as the evaluation harness has it: windows that do not overlap but for one token of context; every token is scored once, the first behind
 * a prefix token, which a model that wants one gets in every window.
 */
import { BitNetError } from "@bitnet.ts/core";

export type Counting = "llama.cpp" | "huggingface";

export interface Window {
  ids: Int32Array;
  /** Position of the first token that is scored. */
  from: number;
}

/**
 * @param ids The text, without a beginning-of-text token.
 * @param keepsPrefix Whether later windows begin with the prefix, too: models that are never without it lose their heads (Gemma's perplexity
 * of 3.46 becomes one of 5.9·10⁹: lm-evaluation-harness, issue 2382, PR 1465).
 */
export function rollingWindows(
  ids: Int32Array,
  { prefix, contextLength, keepsPrefix }: { prefix: number; contextLength: number; keepsPrefix: boolean },
): Window[] {
  const windows: Window[] = [];
  for (let first = 0; first < ids.length; ) {
    const before = ids[first - 1];
    const start =
      before === undefined ? [prefix] : keepsPrefix && contextLength > 2 ? [prefix, before] : [before];
    const scored = ids.subarray(first, first + contextLength - start.length);
    windows.push({ ids: Int32Array.from([...start, ...scored]), from: start.length });
    first += scored.length;
  }
  return windows;
}

/**
 * @param ids The text, with its beginning-of-text token where the model wants one.
 * @param bosId Null where the model wants none.
 * @throws BitNetError INVALID_ARGUMENT for a text that is too short or a stride that is too long.
 */
export function windowsOf(
  ids: Int32Array,
  {
    counting,
    contextLength,
    stride,
    bosId,
  }: { counting: Counting; contextLength: number; stride: number; bosId: number | null },
): Window[] {
  return counting === "llama.cpp"
    ? chunks(ids, contextLength, bosId)
    : slidingWindows(ids, contextLength, stride);
}

function chunks(ids: Int32Array, contextLength: number, bosId: number | null): Window[] {
  if (ids.length < 2 * contextLength) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `the text has ${ids.length} tokens, but llama.cpp's way of counting wants at least ${2 * contextLength}, two contexts; give a longer text, a shorter context (-c), or --stride`,
    );
  }
  const windows: Window[] = [];
  for (let first = 0; first + contextLength <= ids.length; first += contextLength) {
    const chunk = ids.slice(first, first + contextLength);
    if (bosId !== null) chunk[0] = bosId;
    windows.push({ ids: chunk, from: Math.floor(contextLength / 2) + 1 });
  }
  return windows;
}

function slidingWindows(ids: Int32Array, contextLength: number, stride: number): Window[] {
  if (ids.length < 2)
    throw new BitNetError("INVALID_ARGUMENT", `the text has ${ids.length} tokens; at least two are needed`);
  if (stride > contextLength)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `a stride of ${stride} leaves tokens out between contexts of ${contextLength}; give at most as much`,
    );
  const windows: Window[] = [];
  for (let first = 0, scored = 0; scored < ids.length; first += stride) {
    const end = Math.min(first + contextLength, ids.length);
    // The first token of a window has nothing to be predicted from.
    const from = Math.max(scored - first, 1);
    if (from < end - first) windows.push({ ids: ids.slice(first, end), from });
    scored = end;
  }
  return windows;
}

export interface Perplexity {
  perplexity: number;
  /** Of the perplexity, from the spread of the tokens' log-likelihoods. */
  standardError: number;
  nTokens: number;
  /** Mean −log p, in nats. */
  meanLoss: number;
}

/** Sums over tokens: of −log p and of its square. */
export function perplexityOf({
  sum,
  squares,
  nTokens,
}: {
  sum: number;
  squares: number;
  nTokens: number;
}): Perplexity {
  const meanLoss = sum / nTokens;
  const variance = Math.max(0, squares / nTokens - meanLoss ** 2);
  const perplexity = Math.exp(meanLoss);
  const standardError = nTokens < 2 ? Number.NaN : perplexity * Math.sqrt(variance / (nTokens - 1));
  return { perplexity, standardError, nTokens, meanLoss };
}
