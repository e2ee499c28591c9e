/**
 * The shape that most two-bit layouts share: a block of `4 · lanes` weights in `lanes` bytes, where byte p holds weights
 * p, lanes + p, 2 · lanes + p and 3 · lanes + p in four two-bit fields. Layouts differ in the number of lanes and in the
 * order of the fields. Code = weight + 1.
 */

export interface TwoBitLayout {
  /** Bytes of a block. */
  lanes: number;
  /** True when the first run of weights takes the high bits. */
  highFirst: boolean;
}

/** The four two-bit fields of a byte in reverse order: low bits first ↔ high bits first. */
export const reversedFields = Uint8Array.from(
  { length: 256 },
  (_, byte) => ((byte & 3) << 6) | ((byte & 12) << 2) | ((byte >> 2) & 12) | (byte >> 6),
);

/** Calls `visit` for each run of consecutive elements that lie in consecutive bytes at one bit position. */
function forEachRun(
  layout: TwoBitLayout,
  start: number,
  length: number,
  visit: (at: number, byte: number, shift: number, run: number) => void,
): void {
  const { lanes, highFirst } = layout;
  let at = 0;
  while (at < length) {
    const element = start + at;
    const lane = element % lanes;
    const field = Math.floor(element / lanes) % 4;
    const byte = Math.floor(element / (4 * lanes)) * lanes + lane;
    const run = Math.min(lanes - lane, length - at);
    visit(at, byte, highFirst ? 6 - 2 * field : 2 * field, run);
    at += run;
  }
}

/** Unpacks `out.length` weights from element `start` on; `bytes` begins at element 0. */
export function unpackTwoBit(bytes: Uint8Array, layout: TwoBitLayout, start: number, out: Int8Array): void {
  forEachRun(layout, start, out.length, (at, byte, shift, run) => {
    for (let i = 0; i < run; i++) {
      out[at + i] = (((bytes[byte + i] ?? 0) >> shift) & 3) - 1;
    }
  });
}

/** Packs `trits` from element `start` on into `out`, whose fields there are zero. */
export function packTwoBit(trits: Int8Array, layout: TwoBitLayout, start: number, out: Uint8Array): void {
  forEachRun(layout, start, trits.length, (at, byte, shift, run) => {
    for (let i = 0; i < run; i++) {
      out[byte + i] = (out[byte + i] ?? 0) | (((trits[at + i] ?? 0) + 1) << shift);
    }
  });
}
