/**
 * Five trits in a byte, as TQ1_0 and IQ1_BN store them: the digits q = Σ digit · 3^place are kept as the fraction q / 243
 * in 256ths, rounded up, so that a digit comes out of multiplications alone. Digit = weight + 1. Source: llama.cpp.
 */

/** The byte of `value` = Σ digit · 3^place, 0 … 242. */
export function base3Byte(value: number): number {
  return Math.floor((value * 256 + 242) / 243);
}

/**
 * The five digits of every byte as two-bit fields, the most significant digit in bits 0–1. Bytes that no encoder writes
 * get what the formats' own decoding formula gives.
 */
export const base3Digits: Uint16Array = buildDigits();

function buildDigits(): Uint16Array {
  const table = new Uint16Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let fields = 0;
    for (let place = 0; place < 5; place++) {
      const fraction = (byte * 3 ** place) & 255;
      fields |= ((fraction * 3) >> 8) << (2 * place);
    }
    table[byte] = fields;
  }
  return table;
}
