/** Names by which control tokens are known, whatever a file says about their kind. */

/** Tokens that end a turn or a text. */
const turnEndNames: ReadonlySet<string> = new Set([
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end_of_text|>",
  "<|endoftext|>",
  "<|end|>",
  "<|return|>",
  "<|endofturn|>",
  "<end_of_turn>",
  "<end_of_utterance>",
  "<｜end▁of▁sentence｜>",
  "<eos>",
  "</s>",
]);

const otherNames: ReadonlySet<string> = new Set([
  "<s>",
  "<bos>",
  "<pad>",
  "<unk>",
  "<start_of_turn>",
  "<start_of_image>",
  "<end_of_image>",
]);

/** Names between `<|` and `|>`, or between DeepSeek's wide bars, are used for nothing else. */
const barred = /^<[|｜][^<>|｜\s]{1,64}[|｜]>$/;

export function isControlName(content: string): boolean {
  return turnEndNames.has(content) || otherNames.has(content) || barred.test(content);
}

/** Ids of the control tokens that end a turn or a text by their name. */
export function turnEndsByName(
  added: readonly { id: number; content: string; special: boolean }[],
): number[] {
  return added.filter(({ content, special }) => special && turnEndNames.has(content)).map(({ id }) => id);
}
