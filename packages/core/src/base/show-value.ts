/** Shows what a caller wrote, or a list of problems, in a message: whatever it is, the message stays short. */

/** Problems that one message lists. */
const maxListed = 8;
const maxShown = 40;

function shortened(text: string): string {
  return text.length > maxShown ? `${text.slice(0, maxShown)}…` : text;
}

/** A value of unknown type, in at most some 50 characters (escapes aside). */
export function showValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(shortened(value));
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return shortened(String(value));
}

/** The name of an option as it is, when it looks like one; else quoted and shortened. */
export function showName(name: string): string {
  return /^\w{1,40}$/.test(name) ? name : showValue(name);
}

/** Collects problems, but keeps only as many as a message lists. */
export class ProblemList {
  readonly #listed: string[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The problems that are kept, and in the end how many more there were. */
  get listed(): readonly string[] {
    const more = this.#count - this.#listed.length;
    return more === 0 ? [...this.#listed] : [...this.#listed, `and ${more} more`];
  }

  /** @param problem May be a function where making the text takes a while: it is called only for what is kept. */
  add(problem: string | (() => string)): void {
    this.#count++;
    if (this.#listed.length >= maxListed) return;
    this.#listed.push(typeof problem === "string" ? problem : problem());
  }
}
