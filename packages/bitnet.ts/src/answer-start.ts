/**
 * White space that an answer begins with: where a template writes `Assistant: ` before an answer but ends a prompt with `Assistant:`, or
 * a tokenizer begins every word with a space, it belongs to the form and not to what is said.
 */
import type { TokenPiece } from "./generation.ts";

/** The same pieces; each channel's text begins with its first character that is no white space. */
export async function* withoutLeadingSpace(
  pieces: AsyncIterable<TokenPiece>,
): AsyncGenerator<TokenPiece, undefined, undefined> {
  const begun = new Set<TokenPiece["channel"]>();
  for await (const piece of pieces) {
    if (begun.has(piece.channel)) {
      yield piece;
      continue;
    }
    const text = piece.text.trimStart();
    if (text !== "") begun.add(piece.channel);
    yield { ...piece, text };
  }
  return undefined;
}
