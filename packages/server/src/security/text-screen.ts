/**
 * Applies rules to a text that comes piece by piece, with the outcome that the whole text would have: what could still become part of a
 * match is held back. Knows nothing of requests.
 */
import type { FilterRule } from "./filter-rules.ts";

/** Told of every match. What it throws ends the screening, before any of the match has been let out. */
export type OnMatch = (rule: FilterRule) => void;

export class TextScreen {
  readonly #stages: readonly RuleStage[];

  constructor(rules: readonly FilterRule[], onMatch: OnMatch) {
    // What is forbidden is looked for before anything has been replaced.
    const inOrder = (["block", "flag", "redact"] as const).flatMap((severity) =>
      rules.filter((rule) => rule.severity === severity),
    );
    this.#stages = inOrder.map((rule) => new RuleStage(rule, onMatch));
  }

  /** @returns What may be let out by now. */
  push(text: string): string {
    let passing = text;
    for (const stage of this.#stages) passing = stage.push(passing);
    return passing;
  }

  /** @returns The rest. */
  end(): string {
    let passing = "";
    for (const stage of this.#stages) passing = stage.push(passing) + stage.end();
    return passing;
  }
}

class RuleStage {
  readonly #rule: FilterRule;
  readonly #onMatch: OnMatch;
  /** The last character that has been let out: word borders look at it. */
  #before = "";
  #held = "";

  constructor(rule: FilterRule, onMatch: OnMatch) {
    this.#rule = rule;
    this.#onMatch = onMatch;
  }

  push(text: string): string {
    if (text === "") return "";
    this.#held += text;
    const free = this.#advance(false);
    // Nothing is replaced, so nothing needs to wait.
    return this.#rule.severity === "flag" ? text : free;
  }

  end(): string {
    const free = this.#advance(true);
    return this.#rule.severity === "flag" ? "" : free;
  }

  /**
   * Lets out what no further text can change: a match is certain once the longest one from its start, and the character after that,
   * would be there.
   */
  #advance(isEnd: boolean): string {
    const { pattern, longest, severity, replacement } = this.#rule;
    if (!isEnd && longest === Number.POSITIVE_INFINITY) return "";
    const text = this.#before + this.#held;
    /** Where matches may begin about which nothing is certain. */
    const open = isEnd ? text.length : Math.max(0, text.length - longest);
    let at = this.#before.length;
    let out = "";
    if (open > at || isEnd) {
      const matcher = pattern.matcher(text);
      while (at <= text.length && matcher.find(at)) {
        const start = matcher.start();
        const end = matcher.end();
        if (start >= open && !isEnd) break;
        this.#onMatch(this.#rule);
        out += text.slice(at, start) + (severity === "redact" ? replacement : text.slice(start, end));
        at = end;
      }
    }
    const free = Math.max(at, cutBefore(text, open));
    out += text.slice(at, free);
    const previous = cutBefore(text, Math.max(0, free - 1));
    this.#before = text.slice(previous, free);
    this.#held = text.slice(free);
    return out;
  }
}

/** The place itself, or the one before where it would cut a character in two. */
function cutBefore(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  return at > 0 && unit >= 0xdc00 && unit <= 0xdfff ? at - 1 : at;
}

/** Applies rules to a whole text. */
export function screenText(rules: readonly FilterRule[], text: string, onMatch: OnMatch): string {
  const screen = new TextScreen(rules, onMatch);
  return screen.push(text) + screen.end();
}
