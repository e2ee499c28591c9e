/** Bytes as text in the alphabet of byte-level vocabularies (GPT-2's): a printable character for each byte. */

const characters = alphabet();

function alphabet(): string[] {
  const isPrintable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
}

export function byteText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += characters[byte];
  return text;
}
