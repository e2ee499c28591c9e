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

/** The bytes of tokens; `null` for tokens that are not shown. */
interface TokenSource {
  bytesOf(id: number): Uint8Array | null;
  /** The same for a token that begins the text, which may lose a space; asked only for tokens that are shown. */
  firstBytesOf(id: number): Uint8Array;
}

const none = new Uint8Array();

export function createIncrementalDecoder({ bytesOf, firstBytesOf }: TokenSource): IncrementalDecoder {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let isFirst = true;
  return {
    push(id) {
      const bytes = bytesOf(id);
      const shown = bytes !== null && isFirst ? firstBytesOf(id) : (bytes ?? none);
      if (bytes !== null) isFirst = false;
      return decoder.decode(shown, { stream: true });
    },
    end() {
      isFirst = true;
      return decoder.decode();
    },
  };
}
