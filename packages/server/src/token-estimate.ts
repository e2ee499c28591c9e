/** What a request may take in tokens, before anything is tokenised: a token for four bytes of body, and the answer that is asked for. */

interface EstimateLimits {
  readonly defaultOutputTokens: number;
  readonly maxOutputTokens: number;
}

const bytesPerToken = 4;

/**
 * @param get A field of the body, whatever it holds.
 * @param path Of the route: embeddings and lists of tokens have no answer.
 */
export function estimateTokens(
  get: (name: string) => unknown,
  bytes: number,
  path: string,
  limits: EstimateLimits,
): number {
  const prompt = Math.ceil(bytes / bytesPerToken);
  if (/embed|token/.test(path)) return prompt;
  const asked =
    get("max_completion_tokens") ?? get("max_output_tokens") ?? get("max_tokens") ?? get("n_predict");
  const wanted =
    typeof asked !== "number" ? limits.defaultOutputTokens : asked < 0 ? limits.maxOutputTokens : asked;
  const n = get("n");
  const answers = typeof n === "number" && n >= 1 ? n : 1;
  return prompt + Math.floor(answers * Math.min(wanted, limits.maxOutputTokens));
}
