/**
 * Finds stop texts in a stream, wherever the borders of tokens fall: text that may be the beginning of a stop text is held
 * back until that is decided. Of several stop texts the one that completes first counts, at the same character the longest.
 * Matching is by automaton (Knuth, Morris and Pratt, 1977), a constant cost per character and stop text.
 */

/** Why a generation ended. */
export type StopReason = "length" | "stop" | "eos" | "context" | "abort";

/** One stop text, and how much of it the text so far ends with. */
interface Automaton {
  readonly text: string;
  /** For each length ≥ 1 of a matched beginning, the next shorter beginning that is also its end. */
  readonly fallback: Int32Array;
  matched: number;
}

function createAutomaton(text: string): Automaton {
  const fallback = new Int32Array(text.length + 1);
  for (let length = 2, k = 0; length <= text.length; length++) {
    while (k > 0 && text[k] !== text[length - 1]) k = fallback[k] ?? 0;
    if (text[k] === text[length - 1]) k++;
    fallback[length] = k;
  }
  return { text, fallback, matched: 0 };
}

/** @returns Whether the stop text is complete with this character. */
function advance(automaton: Automaton, character: string | undefined): boolean {
  const { text, fallback } = automaton;
  let k = automaton.matched;
  while (k > 0 && text[k] !== character) k = fallback[k] ?? 0;
  automaton.matched = text[k] === character ? k + 1 : 0;
  return automaton.matched === text.length;
}

export class StopMatcher {
  readonly #automata: readonly Automaton[];
  /** Held back: a beginning of some stop text. */
  #held = "";
  #found: string | null = null;

  /** @param stops Not empty texts. */
  constructor(stops: readonly string[]) {
    this.#automata = stops.map(createAutomaton);
  }

  /** Whether a stop text has been found; everything after it is ignored. */
  get hasStopped(): boolean {
    return this.#found !== null;
  }

  /** The stop text that has been found. */
  get found(): string | null {
    return this.#found;
  }

  /** Takes the next text. @returns What is certainly not part of a stop text. */
  push(text: string): string {
    if (this.#found !== null || text === "") return "";
    const whole = this.#held + text;
    for (let end = this.#held.length + 1; end <= whole.length; end++) {
      const length = this.#completedBy(whole[end - 1]);
      if (length === 0) continue;
      this.#found = whole.slice(end - length, end);
      this.#held = "";
      return whole.slice(0, end - length);
    }
    let nHeld = 0;
    for (const { matched } of this.#automata) nHeld = Math.max(nHeld, matched);
    this.#held = whole.slice(whole.length - nHeld);
    return whole.slice(0, whole.length - nHeld);
  }

  /** Ends the text. @returns What was held back. */
  end(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  /** Length of the longest stop text that ends with this character; 0 when none does. */
  #completedBy(character: string | undefined): number {
    let length = 0;
    for (const automaton of this.#automata)
      if (advance(automaton, character)) length = Math.max(length, automaton.text.length);
    return length;
  }
}
