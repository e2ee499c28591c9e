/**
 * Separates what a model thinks from what it answers: thinking stands between two marks at the beginning of a generation,
 * wherever the borders of tokens fall. Knows nothing of templates; whoever rendered the prompt knows the marks.
 */
import type { PromptThinking } from "../tokenizer/thinking-marks.ts";

/** The marks around a model's thinking. */
export type ThinkingMarks = PromptThinking;

/** Text that has become certain, by channel; what is thought comes before what is answered. */
export interface ChannelText {
  readonly thinking: string;
  readonly answer: string;
}

/** White space that is held back, at most; longer runs of it belong to the text. */
const mostHeld = 256;

export class ThinkingSplitter {
  readonly #marks: ThinkingMarks;
  /** `start`: only white space so far, and perhaps the beginning of the opening mark. */
  #state: "start" | "thinking" | "answer";
  /** Text of which it is not certain yet what it is. */
  #held = "";
  /** Line ends are dropped here, after a mark. */
  #skipsNewlines = false;

  constructor(marks: ThinkingMarks) {
    this.#marks = marks;
    this.#state = marks.isOpen ? "thinking" : "start";
    this.#skipsNewlines = marks.isOpen;
  }

  get isThinking(): boolean {
    return this.#state === "thinking";
  }

  /** Takes the next text, in which marks that are tokens are written out. */
  push(text: string): ChannelText {
    this.#held += text;
    if (this.#state === "start" && !this.#open()) return { thinking: "", answer: "" };
    const thinking = this.#state === "thinking" ? this.#think() : "";
    return { thinking, answer: this.#state === "answer" ? this.#take(this.#held.length) : "" };
  }

  /** Ends the text. @returns What was held back. */
  end(): ChannelText {
    const held = this.#take(this.#held.length);
    return this.#state === "thinking"
      ? { thinking: withoutNewlines(held), answer: "" }
      : { thinking: "", answer: held };
  }

  /** @returns Whether it is decided what the text begins with. */
  #open(): boolean {
    const { open } = this.#marks;
    const begun = this.#held.length > mostHeld ? this.#held : this.#held.trimStart();
    if (begun.length < open.length && open.startsWith(begun)) return false;
    const isOpened = begun.startsWith(open);
    this.#state = isOpened ? "thinking" : "answer";
    if (isOpened) {
      this.#held = begun.slice(open.length);
      this.#skipsNewlines = true;
    }
    return true;
  }

  #think(): string {
    const { close } = this.#marks;
    const at = this.#held.indexOf(close);
    if (at < 0) return this.#take(certainLength(this.#held, close));
    const text = withoutNewlines(this.#take(at));
    this.#held = this.#held.slice(close.length);
    this.#state = "answer";
    this.#skipsNewlines = true;
    return text;
  }

  /** The first `length` characters of what is held, without line ends that follow a mark. */
  #take(length: number): string {
    let text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    if (this.#skipsNewlines) text = text.replace(/^[\r\n]+/, "");
    if (text !== "") this.#skipsNewlines = false;
    return text;
  }
}

/** Characters before any line ends, and before any beginning of the closing mark, at the end of `text`. */
function certainLength(text: string, close: string): number {
  let end = text.length;
  for (let length = Math.min(close.length - 1, text.length); length > 0; length--) {
    if (!text.endsWith(close.slice(0, length))) continue;
    end = text.length - length;
    break;
  }
  const lowest = Math.max(0, end - mostHeld);
  let at = end;
  while (at > lowest && (text[at - 1] === "\n" || text[at - 1] === "\r")) at--;
  return at === lowest && lowest > 0 ? end : at;
}

function withoutNewlines(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === "\n" || text[end - 1] === "\r")) end--;
  return text.slice(0, end);
}
