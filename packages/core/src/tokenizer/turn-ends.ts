/** Names under which models keep the control tokens that end a turn or a text. */
export const turnEndNames: ReadonlySet<string> = new Set([
  "<|eot_id|>",
  "<|im_end|>",
  "<|end_of_text|>",
  "<|endoftext|>",
]);
