/**
 * Restricts a generation to the tokens that something outside of it allows, such as a grammar. Knows nothing of grammars.
 */

export interface TokenMask {
  /**
   * Where masks come from elsewhere: settles when `allowed` can answer; null when it can now. Asked before every step that may need the
   * answer, and never fails: what went wrong, `allowed` says.
   */
  ready?(): Promise<void> | null;
  /**
   * The tokens that may come next, as a bit set [ceil(vocab / 32)] (bit id & 31 of word id >> 5), read at once and not kept; null: all.
   * Asked before every token, possibly several times. End-of-sequence tokens are allowed only where their bits are set.
   */
  allowed(): Uint32Array | null;
  /** A token was chosen, the end-of-sequence token excluded. */
  accept(id: number): void;
  /** The generation has ended, however it did. */
  dispose(): void;
}

export function isAllowed(mask: Uint32Array | null, id: number): boolean {
  return mask === null || (((mask[id >> 5] ?? 0) >>> (id & 31)) & 1) === 1;
}
