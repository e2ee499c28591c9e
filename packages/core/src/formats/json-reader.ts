/**
 * A pull parser for untrusted JSON (RFC 8259) that knows what `JSON.parse` does not tell: where the text is wrong, and
 * that an object has a key twice. It builds nothing but what is asked for, so that memory stays bounded by what is kept.
 */
import { BitNetError } from "../base/errors.ts";

/** Nesting that no file of ours comes near. */
const maxDepth = 128;

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
    const before = this.#text.slice(0, at);
    const line = before.split("\n").length;
    const column = at - before.lastIndexOf("\n");
    throw new BitNetError("FORMAT_INVALID", `${this.#label}: line ${line}, column ${column}: ${problem}`, {
      details: { file: this.#label, position: at, line, column },
    });
  }

  /** Reads an object; `member` must consume the value of each key. A key that comes twice is refused. */
  object(member: (key: string) => void): void {
    const seen = new Set<string>();
    this.#items("{", "}", () => {
      const at = this.#at;
      const key = this.string();
      if (seen.has(key)) this.fail(`the key ${JSON.stringify(key)} comes twice in one object`, at);
      seen.add(key);
      this.#expect(":");
      member(key);
    });
  }

  /** Reads an array; `element` must consume each element. */
  array(element: () => void): void {
    this.#items("[", "]", element);
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

  /** Reads past any value, checking it. */
  skip(): void {
    this.#skipSpace();
    const char = this.#text[this.#at];
    if (char === "{") this.object(() => this.skip());
    else if (char === "[") this.array(() => this.skip());
    else if (char === '"') this.string();
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

  #items(open: string, close: string, item: () => void): void {
    this.#expect(open);
    this.#depth++;
    if (this.#depth > maxDepth) this.fail(`nested more than ${maxDepth} deep`);
    this.#skipSpace();
    if (this.#text[this.#at] === close) {
      this.#at++;
    } else {
      for (let more = true; more; ) {
        this.#skipSpace();
        item();
        this.#skipSpace();
        more = this.#text[this.#at] === ",";
        if (more) this.#at++;
      }
      this.#expect(close);
    }
    this.#depth--;
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
