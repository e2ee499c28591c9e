/** A small fast generator of reproducible random bits: xorshift32 (Marsaglia, 2003). Not for anything secret. */

/** Pieces of 16 bits by 16 random bits. */
export type PieceTable = Uint16Array; // [65536]

export class RandomBits {
  #state: number;

  /** Streams of one seed are unrelated for practical purposes. */
  constructor(seed: number, stream: number) {
    // Two rounds of a 32-bit finaliser (the murmur3 one), so that neighbouring seeds start far apart.
    let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(stream + 1, 0xc2b2ae35);
    state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
    this.#state = state ^ (state >>> 16) || 1; // zero is the generator's fixed point
  }

  /** In [0, 1). */
  next(): number {
    let s = this.#state;
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    this.#state = s;
    return (s >>> 0) / 2 ** 32;
  }

  /** Fills `out`, of even length, with entries of `pieces`. */
  fill(out: Uint16Array, pieces: PieceTable): void {
    let s = this.#state;
    for (let i = 0; i < out.length; i += 2) {
      s ^= s << 13;
      s ^= s >>> 17;
      s ^= s << 5;
      out[i] = pieces[s & 0xffff] ?? 0;
      out[i + 1] = pieces[s >>> 16] ?? 0;
    }
    this.#state = s;
  }
}
