/** Checks token ids that a caller hands over, before a typed array would turn wrong ones into others. */
import { BitNetError } from "@bitnet.ts/core";

/** @throws BitNetError INVALID_ARGUMENT for what is no list of ids, CONTEXT_EXCEEDED for too many. */
export function checkPromptIds(
  prompt: ArrayLike<number>,
  { vocabSize, contextLength }: { vocabSize: number; contextLength: number },
): Int32Array {
  const length: unknown = prompt?.length;
  if (typeof length !== "number")
    throw new BitNetError("INVALID_ARGUMENT", "generate: expected a text or a list of token ids as prompt");
  if (length > contextLength) {
    throw new BitNetError(
      "CONTEXT_EXCEEDED",
      `generate: the prompt has ${length} tokens, but the context holds ${contextLength}; shorten the prompt`,
      { details: { promptTokens: length, contextLength } },
    );
  }
  for (let i = 0; i < length; i++) {
    const id: unknown = prompt[i];
    if (Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize) continue;
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `generate: prompt token ${i} is ${String(id)}, expected an id in 0…${vocabSize - 1}`,
    );
  }
  return Int32Array.from(prompt);
}
