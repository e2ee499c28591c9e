/**
 * The longest text that a pattern can match, in UTF-16 units; Infinity where there is no longest. Reads the syntax of RE2, of patterns
 * that compile. Errs on the long side.
 */

/** A character may be two units. */
const characterUnits = 2;

export function longestMatch(pattern: string): number {
  return new LengthReader(pattern).readAll();
}

class LengthReader {
  readonly #pattern: string;
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  readAll(): number {
    let longest = 0;
    while (this.#at < this.#pattern.length) {
      longest += this.#alternatives();
      // A closing bracket that closes nothing does not compile.
      this.#at++;
    }
    return longest;
  }

  #alternatives(): number {
    let longest = this.#sequence();
    while (this.#peek() === "|") {
      this.#at++;
      longest = Math.max(longest, this.#sequence());
    }
    return longest;
  }

  #sequence(): number {
    let sum = 0;
    while (this.#at < this.#pattern.length && this.#peek() !== "|" && this.#peek() !== ")")
      sum += this.#repeated();
    return sum;
  }

  #repeated(): number {
    let length = this.#atom();
    for (;;) {
      const times = this.#quantifier();
      if (times === null) return length;
      // Nothing, however often, stays nothing.
      length = length === 0 ? 0 : length * times;
    }
  }

  /** The most times that what stands before may stand there; null when it stands there once. */
  #quantifier(): number | null {
    const rest = this.#pattern.slice(this.#at, this.#at + 16);
    const found = /^(?:([*+?])|\{(\d+)(,?)(\d*)\})\??/.exec(rest);
    if (found === null) return null;
    this.#at += found[0].length;
    const [, sign, least, comma, most] = found;
    if (sign !== undefined) return sign === "?" ? 1 : Number.POSITIVE_INFINITY;
    if (comma === "") return Number(least);
    return most === "" ? Number.POSITIVE_INFINITY : Number(most);
  }

  #atom(): number {
    const sign = this.#peek();
    this.#at++;
    if (sign === "(") return this.#group();
    if (sign === "[") return this.#class();
    if (sign === "\\") return this.#escape();
    return sign === "^" || sign === "$" ? 0 : characterUnits;
  }

  #group(): number {
    const rest = this.#pattern.slice(this.#at);
    const head = /^\?(?:P?<[^>]*>|[a-zA-Z-]*([:)]))/.exec(rest);
    if (head !== null) this.#at += head[0].length;
    if (head?.[1] === ")") return 0; // flags alone
    const length = this.#alternatives();
    this.#at++;
    return length;
  }

  #class(): number {
    if (this.#peek() === "^") this.#at++;
    if (this.#peek() === "]") this.#at++; // first, it stands for itself
    while (this.#at < this.#pattern.length && this.#peek() !== "]") {
      const named = /^\[:[^:]*:\]/.exec(this.#pattern.slice(this.#at, this.#at + 20));
      this.#at += named?.[0].length ?? (this.#peek() === "\\" ? 2 : 1);
    }
    this.#at++;
    return characterUnits;
  }

  #escape(): number {
    const sign = this.#peek();
    this.#at++;
    if (sign === "Q") {
      const end = this.#pattern.indexOf("\\E", this.#at);
      const stop = end < 0 ? this.#pattern.length : end;
      const length = characterUnits * (stop - this.#at);
      this.#at = end < 0 ? stop : end + 2;
      return length;
    }
    if ("bBAzZ".includes(sign)) return 0;
    if (("xpP".includes(sign) && this.#peek() === "{") || sign === "k") {
      const end = this.#pattern.indexOf("}", this.#at);
      this.#at = end < 0 ? this.#pattern.length : end + 1;
    } else if (sign === "x") this.#at += 2;
    else if (sign === "p" || sign === "P") this.#at++;
    return characterUnits;
  }

  #peek(): string {
    return this.#pattern[this.#at] ?? "";
  }
}
