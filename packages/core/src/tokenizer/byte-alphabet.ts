/**
 * GPT-2's printable spelling of bytes: files write a token as text in which every byte is one visible character (a space
 * is "Ġ"). Turns that spelling back into bytes. Knows nothing of vocabularies.
 * Source: `bytes_to_unicode` in the GPT-2 release (openai/gpt-2, encoder.py).
 */

/** Code point → byte, −1 where the alphabet has no such character. Bytes without a visible Latin-1 form sit at 256 and up. */
const byteOfCodePoint = buildAlphabet(); // [256 + 68]

function buildAlphabet(): Int16Array {
  const bytes = new Int16Array(256 + 68).fill(-1);
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isVisible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    bytes[isVisible ? byte : next++] = byte;
  }
  return bytes;
}

/**
 * Reads the spelling `source[start, end)` (UTF-8) and writes the bytes it stands for to `target` from `at`; the result is
 * never longer than the spelling.
 * @returns The position after the last byte written, or −1 when a character is not in the alphabet.
 */
export function unspell(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): number {
  let position = start;
  let written = at;
  while (position < end) {
    const lead = source[position++] ?? 0;
    let codePoint = lead;
    if (lead >= 0x80) {
      const next = position < end ? (source[position++] ?? 0) : 0;
      // All characters of the alphabet take at most two bytes; shorter ones may not be written longer.
      if (lead < 0xc2 || lead > 0xc5 || (next & 0xc0) !== 0x80) return -1;
      codePoint = ((lead & 0x1f) << 6) | (next & 0x3f);
    }
    const byte = byteOfCodePoint[codePoint] ?? -1;
    if (byte < 0) return -1;
    target[written++] = byte;
  }
  return written;
}
