/** Tokens of an answer with their log-probabilities, as OpenAI's chats and responses and Ollama's lines spell them. */
import type { Tokenizer } from "bitnet.ts";
import type { TokenEntry } from "../chat-core.ts";
import { invalid } from "../errors.ts";
import type { Fields } from "../fields.ts";

interface DescribedToken {
  readonly token: string;
  readonly logprob: number;
  /** The token's own: half a character, too. */
  readonly bytes: readonly number[];
}

export interface DescribedEntry extends DescribedToken {
  readonly top_logprobs: readonly DescribedToken[];
}

/** What a request asks for. @throws ServeError INVALID_INPUT. */
export function readLogprobs(body: Fields): { logprobs?: number } {
  const top = body.integer("top_logprobs", { min: 0, max: 20 });
  const isOn = body.boolean("logprobs") ?? false;
  if (top !== undefined && top > 0 && !isOn) throw invalid("top_logprobs", "logprobs: true beside it");
  return isOn ? { logprobs: top ?? 0 } : {};
}

export function describeTokens(tokens: readonly TokenEntry[], tokenizer: Tokenizer): DescribedEntry[] {
  const describe = (id: number, logprob: number): DescribedToken => ({
    token: tokenizer.decode([id]),
    logprob,
    bytes: Array.from(tokenizer.tokenBytes(id)),
  });
  return tokens.map(({ id, logprob, top }) => ({
    ...describe(id, logprob),
    top_logprobs: top.map(([each, value]) => describe(each, value)),
  }));
}
