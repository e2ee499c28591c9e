/**
 * Turns token ids into text one by one without ever showing half a character: a character may span tokens, and its bytes
 * wait until it is whole. Knows nothing of vocabularies.
 */

/** The pieces that `push` and `end` return, joined, are what `decode` gives for all ids at once. */
export interface IncrementalDecoder {
  /**
   * @returns The text that this id completes, possibly none.
   * @throws BitNetError INVALID_ARGUMENT for an id that is not in the vocabulary.
   */
  push(id: number): string;
  /** Ends the text: bytes of an unfinished character come out as U+FFFD. The decoder can then start another text. */
  end(): string;
}

export function createIncrementalDecoder(bytesOf: (id: number) => Uint8Array): IncrementalDecoder {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return {
    push: (id) => decoder.decode(bytesOf(id), { stream: true }),
    end: () => decoder.decode(),
  };
}
