/**
 * A pull parser for untrusted JSON (RFC 8259) that knows what `JSON.parse` does not tell: where the text is wrong, and
 * that an object has a key twice. It builds nothing but what is asked for, so that memory stays bounded by what is kept.
 */
import { BitNetError } from "../base/errors.ts";
import { showValue } from "../base/show-value.ts";

/** Nesting that no file of ours comes near. */
const maxDepth = 128;
/** Values read between two pauses: below a millisecond. */
const valuesPerTurn = 4096;

export class JsonReader {
  readonly #text: string;
  readonly #label: string;
  #at = 0;
  #depth = 0;

  /** `label` names the file in messages. */
  constructor(text: string, label: string) {
    this.#text = text;
    this.#label = label;
  }

  /** @throws BitNetError FORMAT_INVALID with the position. */
  fail(problem: string, at = this.#at): never {
    let line = 1;
    let lineStart = 0;
    for (let i = this.#text.indexOf("\n"); i >= 0 && i < at; i = this.#text.indexOf("\n", i + 1)) {
      line++;
      lineStart = i + 1;
    }
    const column = at - lineStart + 1;
    throw new BitNetError("FORMAT_INVALID", `${this.#label}: line ${line}, column ${column}: ${problem}`, {
      details: { file: this.#label, position: at, line, column },
    });
  }

  /**
   * Reads an object; `member` must consume the value of each key. A key that comes twice is refused. `pause` is awaited before each, so
   * that a long object holds nobody up.
   */
  async object(pause: () => Promise<void>, member: (key: string) => void | Promise<void>): Promise<void> {
    const seen = new Set<string>();
    this.#open("{");
    for (let more = !this.#closes("}"); more; more = this.#goesOn("}")) {
      await pause();
      await member(this.#key(seen));
    }
  }

  /** Reads an array; `element` must consume each element. */
  array(element: () => void): void {
    this.#open("[");
    for (let more = !this.#closes("]"); more; more = this.#goesOn("]")) element();
  }

  string(): string {
    this.#skipSpace();
    const start = this.#at;
    if (this.#text[start] !== '"') this.fail(`expected a string, found ${this.#found()}`);
    let hasEscape = false;
    for (let i = start + 1; i < this.#text.length; i++) {
      const code = this.#text.charCodeAt(i);
      if (code === 0x22) {
        this.#at = i + 1;
        return hasEscape ? this.#unescape(start, i + 1) : this.#text.slice(start + 1, i);
      }
      if (code < 0x20) this.fail("control character in a string", i);
      if (code === 0x5c) {
        hasEscape = true;
        i++;
      }
    }
    return this.fail("a string without an end", start);
  }

  /** A non-negative integer that a double holds exactly. */
  count(): number {
    this.#skipSpace();
    const start = this.#at;
    const value = this.#number();
    if (!Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) {
      this.fail(
        `expected a whole number from 0 to 2^53, found ${this.#text.slice(start, this.#at).slice(0, 40)}`,
        start,
      );
    }
    return value;
  }

  /** Reads past any value, checking it; awaits `pause` now and then. */
  async skip(pause: () => Promise<void>): Promise<void> {
    /** The objects (their keys) and arrays (null) that are open. */
    const open: (Set<string> | null)[] = [];
    for (let n = 1; ; n++) {
      if (n % valuesPerTurn === 0) await pause();
      const entered = this.#beginValue(open);
      if (entered) continue;
      for (;;) {
        const keys = open.at(-1);
        if (keys === undefined) return;
        if (this.#goesOn(keys === null ? "]" : "}")) {
          if (keys !== null) this.#key(keys);
          break;
        }
        open.pop();
      }
    }
  }

  /** Reads a value, or the beginning of one that holds others. @returns Whether another value is to be read inside. */
  #beginValue(open: (Set<string> | null)[]): boolean {
    this.#skipSpace();
    const char = this.#text[this.#at];
    if (char !== "{" && char !== "[") {
      this.#scalar(char);
      return false;
    }
    this.#open(char);
    if (this.#closes(char === "{" ? "}" : "]")) return false;
    const keys = char === "{" ? new Set<string>() : null;
    open.push(keys);
    if (keys !== null) this.#key(keys);
    return true;
  }

  #scalar(char: string | undefined): void {
    if (char === '"') this.string();
    else if (char === "t") this.#literal("true");
    else if (char === "f") this.#literal("false");
    else if (char === "n") this.#literal("null");
    else this.#number();
  }

  /** Checks that nothing but white space follows. */
  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) this.fail(`expected the end, found ${this.#found()}`);
  }

  #open(char: string): void {
    this.#expect(char);
    this.#depth++;
    if (this.#depth > maxDepth) this.fail(`nested more than ${maxDepth} deep`);
  }

  /** Whether what is open ends here; then it is closed. */
  #closes(close: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== close) return false;
    this.#at++;
    this.#depth--;
    return true;
  }

  /** After an item: whether another one follows. Otherwise the end is read. */
  #goesOn(close: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] === ",") {
      this.#at++;
      return true;
    }
    if (!this.#closes(close)) this.#expect(close);
    return false;
  }

  /** A key that has not been seen, and the colon after it. */
  #key(seen: Set<string>): string {
    this.#skipSpace();
    const at = this.#at;
    const key = this.string();
    if (seen.has(key)) this.fail(`the key ${showValue(key)} comes twice in one object`, at);
    seen.add(key);
    this.#expect(":");
    return key;
  }

  #expect(char: string): void {
    this.#skipSpace();
    if (this.#text[this.#at] !== char) this.fail(`expected "${char}", found ${this.#found()}`);
    this.#at++;
  }

  #literal(word: string): void {
    if (!this.#text.startsWith(word, this.#at)) this.fail(`expected a value, found ${this.#found()}`);
    this.#at += word.length;
  }

  #number(): number {
    const pattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
    pattern.lastIndex = this.#at;
    const [digits] = pattern.exec(this.#text) ?? this.fail(`expected a value, found ${this.#found()}`);
    this.#at += digits.length;
    return Number(digits);
  }

  #unescape(start: number, end: number): string {
    try {
      return JSON.parse(this.#text.slice(start, end)) as string;
    } catch {
      return this.fail("a string with an invalid escape", start);
    }
  }

  #skipSpace(): void {
    for (; this.#at < this.#text.length; this.#at++) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
    }
  }

  #found(): string {
    return this.#at < this.#text.length
      ? JSON.stringify(this.#text.slice(this.#at, this.#at + 12))
      : "the end";
  }
}
