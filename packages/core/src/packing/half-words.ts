/**
 * The 16-bit patterns of a tensor as an array of numbers, where they lie or, off their alignment or the machine's byte order, copied.
 * Knows no float format.
 */

const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Patterns of 16 bits: what a table over all of them has as many entries as. */
export const nPatterns = 2 ** 16;

/** Words `[first, first + count)` of little-endian `bytes`. Not to be modified: the result may be a view of them. */
export function halfWords(bytes: Uint8Array, first: number, count: number): Uint16Array {
  const from = bytes.byteOffset + 2 * first;
  if (isLittleEndian && from % 2 === 0) return new Uint16Array(bytes.buffer, from, count);
  const copy = new Uint8Array(2 * count);
  copy.set(bytes.subarray(2 * first, 2 * (first + count)));
  const words = new Uint16Array(copy.buffer);
  if (!isLittleEndian)
    for (let i = 0; i < count; i++) words[i] = ((words[i] ?? 0) << 8) | ((words[i] ?? 0) >> 8);
  return words;
}
