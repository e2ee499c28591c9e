/** From what a model writes to a Python program. Source: EvalPlus' stop words and sanitiser, in the small. */

/** Ends of a function's body in a text that goes on. */
export const bodyStops = [
  "\ndef ",
  "\nclass ",
  "\nimport ",
  "\nfrom ",
  "\nassert ",
  "\nif __name__",
  "\nprint(",
  "\n# ",
  "\nif ",
];

/** End-of-text markers that models write out. */
const textEnds = ["<|endoftext|>", "<|eot_id|>", "<|im_end|>", "</s>"];

/** The program of a completion: the prompt as it is, its last newline included, and the body up to the first stop. */
export function programOf(prompt: string, completion: string): string {
  const body = withoutPrompt(prompt, completion);
  const places = [...bodyStops, ...textEnds].map((stop) => body.indexOf(stop)).filter((place) => place >= 0);
  return prompt + body.slice(0, Math.min(body.length, ...places));
}

function withoutPrompt(prompt: string, completion: string): string {
  return completion.startsWith(prompt) ? completion.slice(prompt.length) : completion;
}
