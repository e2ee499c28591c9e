/**
 * Unicode classes of the characters of valid UTF-8, as the split rules and added tokens need them. Classes come from the
 * engine's own Unicode tables, looked up once per page of 256 code points. Knows nothing of tokens.
 */

/** Letter `\p{L}`, number `\p{N}`, white space `\p{White_Space}`, of which `\r` and `\n` apart; everything else. */
export const charClass = { other: 0, letter: 1, number: 2, space: 3, newline: 4 } as const;

/** Classes of all code points, filled page by page as they are asked for. */
function classTable(classOf: (codePoint: number) => number): (bytes: Uint8Array, position: number) => number {
  const pages: (Uint8Array | undefined)[] = new Array(0x110000 >> 8);
  const pageOf = (page: number) => {
    const classes = new Uint8Array(256);
    for (let low = 0; low < 256; low++) classes[low] = classOf((page << 8) | low);
    pages[page] = classes;
    return classes;
  };
  const latin = pageOf(0);
  return (bytes, position) => {
    const lead = bytes[position] ?? 0;
    if (lead < 0x80) return latin[lead] ?? 0;
    const codePoint = codePointAt(bytes, position);
    return (pages[codePoint >> 8] ?? pageOf(codePoint >> 8))[codePoint & 255] ?? 0;
  };
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
export const classAt = classTable(classify);

/**
 * Letters by case: upper or title case, lower case; `both` for letters without case and for marks, which take part in words of
 * either; everything else is `none`.
 */
export const letterCase = { none: 0, upper: 1, lower: 2, both: 3 } as const;

/** `letterCase` of the character at `position`. */
export const caseAt = classTable((codePoint) => {
  const text = String.fromCodePoint(codePoint);
  if (/[\p{Lu}\p{Lt}]/u.test(text)) return letterCase.upper;
  if (/\p{Ll}/u.test(text)) return letterCase.lower;
  return /[\p{Lm}\p{Lo}\p{M}]/u.test(text) ? letterCase.both : letterCase.none;
});

const punctuation = classTable((codePoint) => (/\p{P}/u.test(String.fromCodePoint(codePoint)) ? 1 : 0));

/** Whether the character at `position` is in `\p{P}`. */
export function isPunctuation(bytes: Uint8Array, position: number): boolean {
  return punctuation(bytes, position) === 1;
}

/** Code point at `position`, which must be the start of a character of valid UTF-8. */
export function codePointAt(bytes: Uint8Array, position: number): number {
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
