/**
 * Makes text from files and models harmless to a terminal: control characters, which move cursors, change titles or fake output, and
 * the marks that turn the direction of text around are shown as signs. Newlines and tabs stay.
 */

// Controls; separators of lines; marks, embeddings, overrides and isolates of direction.
export const harmful: RegExp = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** ESC becomes ␛, U+009B becomes \u009b. */
export function visible(text: string): string {
  return text.replaceAll("\r\n", "\n").replace(harmful, (character) => {
    if (character === "\n" || character === "\t") return character;
    const code = character.charCodeAt(0);
    if (code === 0x7f) return "␡";
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
