/** Seeded pseudo-random integers for tests (xorshift32; Marsaglia 2003). */
export function seededIntegers(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
