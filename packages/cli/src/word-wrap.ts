/**
 * Breaks a stream of text at words to the width of a terminal, which may change while it flows. Wide characters and emoji count their
 * cells, and lines may break between wide characters. Knows nothing of terminals.
 */
import stringWidth from "string-width";

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const tabWidth = 8;

export class WordWrap {
  readonly #columns: () => number;
  #column = 0;
  /** Spaces and the word after them, until it is known whether it fits. */
  #spaces = "";
  #word = "";

  /** @param columns Cells of a line by now; 0 for no limit. */
  constructor(columns: () => number) {
    this.#columns = columns;
  }

  /** What can be printed of the text so far; the word at its end is held back. */
  push(text: string): string {
    let out = "";
    const held = this.#word;
    this.#word = "";
    for (const { segment } of graphemes.segment(held + text)) {
      if (segment.includes("\n")) {
        out += `${this.#takeWord()}${this.#takeSpaces()}\n`;
        this.#column = 0;
      } else if (/^[ \t]+$/.test(segment)) {
        out += this.#takeWord();
        this.#spaces += segment;
      } else if (stringWidth(segment) > 1) {
        out += this.#takeWord();
        this.#word = segment;
      } else {
        if (stringWidth(this.#word) > 1 && graphemeCount(this.#word) === 1) out += this.#takeWord();
        this.#word += segment;
      }
    }
    return out;
  }

  /** The rest. */
  end(): string {
    return this.#takeWord() + this.#takeSpaces();
  }

  #takeSpaces(): string {
    const spaces = this.#spaces;
    this.#column = this.#columnAfterSpaces();
    this.#spaces = "";
    return spaces;
  }

  #columnAfterSpaces(): number {
    let column = this.#column;
    for (const space of this.#spaces) column += space === "\t" ? tabWidth - (column % tabWidth) : 1;
    return column;
  }

  #takeWord(): string {
    const word = this.#word;
    if (word === "") return "";
    this.#word = "";
    const columns = this.#columns();
    const width = stringWidth(word);
    const end = this.#columnAfterSpaces() + width;
    if (columns > 0 && end > columns && this.#column > 0 && width <= columns) {
      this.#spaces = "";
      this.#column = width;
      return `\n${word}`;
    }
    const spaces = this.#takeSpaces();
    const after = this.#column + width;
    this.#column = columns > 0 && after > columns ? after % columns : after; // the terminal breaks it
    return spaces + word;
  }
}

function graphemeCount(text: string): number {
  return [...graphemes.segment(text)].length;
}
