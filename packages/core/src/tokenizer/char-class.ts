/**
 * Unicode classes of the characters of valid UTF-8, as the split rules and added tokens need them. Classes come from the
 * engine's own Unicode tables, looked up once per page of 256 code points. Knows nothing of tokens.
 */

/** Letter `\p{L}`, number `\p{N}`, white space `\p{White_Space}`, of which `\r` and `\n` apart; everything else. */
export const charClass = { other: 0, letter: 1, number: 2, space: 3, newline: 4 } as const;

const pages: (Uint8Array | undefined)[] = new Array(0x110000 >> 8);
const latin = buildPage(0);
pages[0] = latin;

function buildPage(page: number): Uint8Array {
  const classes = new Uint8Array(256);
  for (let low = 0; low < 256; low++) classes[low] = classify((page << 8) | low);
  return classes;
}

function classify(codePoint: number): number {
  if (codePoint === 10 || codePoint === 13) return charClass.newline;
  const text = String.fromCodePoint(codePoint);
  if (/\p{L}/u.test(text)) return charClass.letter;
  if (/\p{N}/u.test(text)) return charClass.number;
  return /\p{White_Space}/u.test(text) ? charClass.space : charClass.other;
}

/** Bytes of the character that starts with `lead`. */
export function charLength(lead: number): number {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/** Class of the character at `position`, which must be the start of a character of valid UTF-8. */
export function classAt(bytes: Uint8Array, position: number): number {
  const lead = bytes[position] ?? 0;
  if (lead < 0x80) return latin[lead] ?? 0;
  const codePoint = codePointAt(bytes, position);
  const page = codePoint >> 8;
  let classes = pages[page];
  if (classes === undefined) {
    classes = buildPage(page);
    pages[page] = classes;
  }
  return classes[codePoint & 255] ?? 0;
}

/** Code point at `position`, which must be the start of a character of valid UTF-8. */
function codePointAt(bytes: Uint8Array, position: number): number {
  const lead = bytes[position] ?? 0;
  if (lead < 0x80) return lead;
  const second = (bytes[position + 1] ?? 0) & 0x3f;
  if (lead < 0xe0) return ((lead & 0x1f) << 6) | second;
  const third = (bytes[position + 2] ?? 0) & 0x3f;
  if (lead < 0xf0) return ((lead & 0x0f) << 12) | (second << 6) | third;
  return ((lead & 0x07) << 18) | (second << 12) | (third << 6) | ((bytes[position + 3] ?? 0) & 0x3f);
}

/** Start of the character that ends before `position`. */
export function previousChar(bytes: Uint8Array, position: number): number {
  let at = position - 1;
  while (at > 0 && ((bytes[at] ?? 0) & 0xc0) === 0x80) at--;
  return at;
}

/** Whether `\w` of Unicode regular expressions matches the character at `position`. */
export function isWordChar(bytes: Uint8Array, position: number): boolean {
  const text = String.fromCodePoint(codePointAt(bytes, position));
  return /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u.test(text);
}

/** End of the run of white space that starts at `position`. */
export function skipSpace(bytes: Uint8Array, position: number, end: number): number {
  let at = position;
  while (at < end && classAt(bytes, at) >= charClass.space) at += charLength(bytes[at] ?? 0);
  return at;
}

/** Start of the run of white space that ends at `position`, not before `start`. */
export function skipSpaceBack(bytes: Uint8Array, position: number, start: number): number {
  let at = position;
  while (at > start) {
    const before = previousChar(bytes, at);
    if (classAt(bytes, before) < charClass.space) break;
    at = before;
  }
  return at;
}
