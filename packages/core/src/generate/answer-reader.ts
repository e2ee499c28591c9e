/**
 * Takes an answer apart while it comes: thoughts, text and calls of tools. One parser for all dialects. What may be the beginning of a tag
 * is held back until that is decided.
 */
import { callBegin, callEnd } from "../tokenizer/tool-text.ts";

export type AnswerEvent =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "reasoning"; readonly text: string }
  | { readonly kind: "call"; readonly index: number; readonly name: string; readonly arguments: string };

type State = "text" | "reasoning" | "call";

const thinkBegin = "<think>";
const thinkEnd = "</think>";
/** A call longer than this is given up and shown as text. */
const longestCall = 2 ** 20;

export interface ReaderOptions {
  /** Look for calls. */
  tools: boolean;
  /** The answer may begin with thoughts; "begun": the prompt ends within them. */
  thinking: "no" | "maybe" | "begun";
  /** Names that may be called; others are text. */
  names: ReadonlySet<string>;
}

export class AnswerReader {
  readonly #options: ReaderOptions;
  #state: State;
  #held = "";
  #nCalls = 0;
  #mayThink: boolean;
  /** White space around tags, and before an answer, belongs to nobody. */
  #trimsStart = true;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#state = options.thinking === "begun" ? "reasoning" : "text";
    this.#mayThink = options.thinking === "maybe";
  }

  get nCalls(): number {
    return this.#nCalls;
  }

  push(text: string): AnswerEvent[] {
    this.#held += text;
    const events: AnswerEvent[] = [];
    while (this.#advance(events)) {}
    return events;
  }

  /** What is still held back, when the answer has ended. */
  end(): AnswerEvent[] {
    const events: AnswerEvent[] = [];
    const rest = this.#held;
    this.#held = "";
    if (this.#state === "call") {
      const call = this.#readCall(rest);
      events.push(call ?? { kind: "text", text: callBegin + rest });
    } else if (rest !== "") this.#emit(events, rest);
    return events;
  }

  /** One step; false when more text is needed. */
  #advance(events: AnswerEvent[]): boolean {
    if (this.#state === "call") return this.#advanceCall(events);
    if (this.#mayThink && !mayBeginWith(this.#held, thinkBegin)) this.#mayThink = false;
    const tags = this.#tagsNow();
    let at = -1;
    let tag = "";
    for (const each of tags) {
      const found = this.#held.indexOf(each);
      if (found >= 0 && (at < 0 || found < at)) {
        at = found;
        tag = each;
      }
    }
    if (at >= 0) {
      this.#emit(events, this.#held.slice(0, at));
      this.#held = this.#held.slice(at + tag.length);
      this.#enter(tag);
      return true;
    }
    const keep = longestTagBeginning(this.#held, tags);
    const free = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(this.#held.length - keep);
    this.#emit(events, free);
    return false;
  }

  #advanceCall(events: AnswerEvent[]): boolean {
    const at = this.#held.indexOf(callEnd);
    if (at < 0 && this.#held.length <= longestCall) return false;
    const end = at < 0 ? this.#held.length : at;
    const body = this.#held.slice(0, end);
    this.#held = this.#held.slice(at < 0 ? end : end + callEnd.length);
    const call = this.#readCall(body);
    events.push(call ?? { kind: "text", text: `${callBegin}${body}${at < 0 ? "" : callEnd}` });
    this.#state = "text";
    this.#trimsStart = true;
    return true;
  }

  #tagsNow(): string[] {
    if (this.#state === "reasoning") return [thinkEnd];
    return [...(this.#mayThink ? [thinkBegin] : []), ...(this.#options.tools ? [callBegin] : [])];
  }

  #enter(tag: string): void {
    this.#trimsStart = true;
    if (tag === thinkBegin) this.#state = "reasoning";
    else if (tag === thinkEnd) this.#state = "text";
    else this.#state = "call";
    this.#mayThink = false;
  }

  #emit(events: AnswerEvent[], text: string): void {
    const shown = this.#trimsStart ? text.trimStart() : text;
    if (shown === "") return;
    this.#trimsStart = false;
    // Thoughts come first or not at all.
    this.#mayThink = false;
    events.push({ kind: this.#state === "reasoning" ? "reasoning" : "text", text: shown });
  }

  #readCall(body: string): AnswerEvent | null {
    let value: unknown;
    try {
      value = JSON.parse(body);
    } catch {
      return null;
    }
    if (typeof value !== "object" || value === null) return null;
    const called = value as { name?: unknown; arguments?: unknown; parameters?: unknown };
    if (typeof called.name !== "string" || !this.#options.names.has(called.name)) return null;
    const given = called.arguments ?? called.parameters ?? {};
    const text = typeof given === "string" ? given : JSON.stringify(given);
    return { kind: "call", index: this.#nCalls++, name: called.name, arguments: text };
  }
}

/** Whether the text, white space aside, begins with the tag or is a beginning of it. */
function mayBeginWith(text: string, tag: string): boolean {
  const start = text.trimStart();
  return start.startsWith(tag) || tag.startsWith(start);
}

/** Length of the longest end of `text` that begins one of the tags. */
function longestTagBeginning(text: string, tags: readonly string[]): number {
  let longest = 0;
  for (const tag of tags)
    for (let length = Math.min(tag.length - 1, text.length); length > longest; length--)
      if (tag.startsWith(text.slice(text.length - length))) longest = length;
  return longest;
}
