/**
 * The value of an expression in LaTeX for given values of its letters, by descent: numbers, + − × ÷ ^, \frac, \sqrt, \pi, i not. Linear
 * in the text, so that nothing makes it hang.
 */

const longest = 400;

/** NaN for what is no expression of this kind. */
export function latexValue(text: string, letters: ReadonlyMap<string, number> = new Map()): number {
  if (text.length > longest) return Number.NaN;
  const reader = new Reader(text, letters);
  const value = reader.sum();
  return reader.isAtEnd ? value : Number.NaN;
}

/** Letters that stand for numbers. */
export function lettersOf(text: string): string[] {
  return [...new Set(text.replaceAll(/\\[a-zA-Z]+/g, " ").match(/[a-zA-Z]/g) ?? [])].sort();
}

class Reader {
  readonly #text: string;
  readonly #letters: ReadonlyMap<string, number>;
  #at = 0;
  #depth = 0;

  constructor(text: string, letters: ReadonlyMap<string, number>) {
    this.#text = text;
    this.#letters = letters;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length;
  }

  sum(): number {
    if (++this.#depth > 60) return Number.NaN;
    const isNegative = this.#take("-");
    if (!isNegative) this.#take("+");
    let value = isNegative ? -this.#product() : this.#product();
    for (;;) {
      if (this.#take("+")) value += this.#product();
      else if (this.#take("-")) value -= this.#product();
      else break;
    }
    this.#depth--;
    return value;
  }

  #product(): number {
    let value = this.#power();
    for (;;) {
      if (this.#take("\\cdot") || this.#take("\\times") || this.#take("*")) value *= this.#power();
      else if (this.#take("/") || this.#take("\\div")) value /= this.#power();
      else if (/^[\d.a-zA-Z({\\]/.test(this.#rest) && !/^\\(?:cup|cap|in|le|ge)/.test(this.#rest)) {
        // 2\frac{1}{2} is a mixed number, 2x a product.
        const isMixed = /^\\frac\{\d+\}\{\d+\}/.test(this.#rest) && /\d$/.test(this.#text.slice(0, this.#at));
        const before = this.#at;
        const next = this.#power();
        if (this.#at === before) return Number.NaN; // nothing that can be read
        value = isMixed ? value + Math.sign(value || 1) * next : value * next;
      } else return value;
    }
  }

  #power(): number {
    const base = this.#atom();
    if (!this.#take("^")) return base;
    const exponent = this.#rest.startsWith("{")
      ? this.#group()
      : this.#take("-")
        ? -this.#atom()
        : this.#digit();
    return base ** exponent;
  }

  /** `x^12` means x¹·2. */
  #digit(): number {
    const next = this.#rest[0] ?? "";
    if (!/\d/.test(next)) return this.#atom();
    this.#at++;
    return Number(next);
  }

  #atom(): number {
    if (this.#take("\\frac")) return this.#group() / this.#group();
    if (this.#take("\\sqrt")) {
      const degree = /^\[(\d+)\]/.exec(this.#rest);
      this.#at += degree?.[0].length ?? 0;
      return this.#group() ** (1 / Number(degree?.[1] ?? 2));
    }
    if (this.#take("\\pi")) return Math.PI;
    if (this.#rest.startsWith("{") || this.#rest.startsWith("(")) return this.#group();
    const number = /^(?:\d+\.?\d*|\.\d+)/.exec(this.#rest)?.[0];
    if (number !== undefined) {
      this.#at += number.length;
      return Number(number);
    }
    const letter = this.#letters.get(this.#rest[0] ?? "");
    if (letter === undefined) return Number.NaN;
    this.#at++;
    return letter;
  }

  #group(): number {
    for (const [open, close] of [
      ["{", "}"],
      ["(", ")"],
    ] as const) {
      if (!this.#take(open)) continue;
      const value = this.sum();
      return this.#take(close) ? value : Number.NaN;
    }
    return this.#digit();
  }

  get #rest(): string {
    return this.#text.slice(this.#at);
  }

  #take(token: string): boolean {
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }
}
