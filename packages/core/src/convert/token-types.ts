/** GGUF's types of tokens, and those tokens that a tokenizer.json adds to its vocabulary. */

export const ggufTokenTypes = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** Puts added tokens and their types where their ids say, but for one that the vocabulary has under a type of its own. */
export function putAddedTokens(
  json: Readonly<Record<string, unknown>>,
  tokens: string[],
  types: Int32Array,
  except?: unknown,
): void {
  const added = (json.added_tokens ?? []) as { id: number; content: string; special: boolean }[];
  for (const { id, content, special } of added) {
    if (content === except) continue;
    tokens[id] = content;
    types[id] = special ? ggufTokenTypes.control : ggufTokenTypes.userDefined;
  }
}
