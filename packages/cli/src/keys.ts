/**
 * The keys of a terminal with pastes told apart: what a terminal brackets as pasted is one text, whatever newlines it holds. Source:
 * xterm's control sequences, "Bracketed Paste Mode".
 */
import { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

export const enablePastes = "\u001b[?2004h";
export const disablePastes = "\u001b[?2004l";
const pasteStart = "\u001b[200~";
const pasteEnd = "\u001b[201~";

/** Splits what a terminal sends into keys and pastes, wherever its chunks end. */
export class PasteSplitter {
  readonly #onKeys: (text: string) => void;
  readonly #onPaste: (text: string) => void;
  #paste: string | null = null;
  /** The beginning of a mark, as far as it has come. */
  #rest = "";

  constructor(onKeys: (text: string) => void, onPaste: (text: string) => void) {
    this.#onKeys = onKeys;
    this.#onPaste = onPaste;
  }

  push(chunk: string): void {
    let text = this.#rest + chunk;
    this.#rest = "";
    for (;;) {
      const mark = this.#paste === null ? pasteStart : pasteEnd;
      const at = text.indexOf(mark);
      if (at < 0) break;
      this.#take(text.slice(0, at));
      if (this.#paste === null) this.#paste = "";
      else {
        const paste = this.#paste;
        this.#paste = null;
        this.#onPaste(paste);
      }
      text = text.slice(at + mark.length);
    }
    const kept = this.#keptLength(text);
    this.#rest = text.slice(text.length - kept);
    this.#take(text.slice(0, text.length - kept));
  }

  #take(text: string): void {
    if (text === "") return;
    if (this.#paste === null) this.#onKeys(text);
    else this.#paste += text;
  }

  /** An Escape key alone is a key: only two characters or more of a start are waited for. */
  #keptLength(text: string): number {
    const mark = this.#paste === null ? pasteStart : pasteEnd;
    const shortest = this.#paste === null ? 3 : 1;
    for (let length = Math.min(mark.length - 1, text.length); length >= shortest; length--)
      if (text.endsWith(mark.slice(0, length))) return length;
    return 0;
  }
}

/** A terminal as readline wants its input, without the pastes. */
export class KeyStream extends Readable {
  readonly isTTY = true;
  readonly #terminal: typeof process.stdin;
  readonly #onData: (chunk: Uint8Array) => void;
  readonly #onEnd = () => this.emit("end");

  constructor(terminal: typeof process.stdin, onPaste: (text: string) => void) {
    super({ read() {} });
    this.#terminal = terminal;
    const decoder = new StringDecoder("utf8");
    const splitter = new PasteSplitter((text) => this.emit("data", text), onPaste);
    this.#onData = (chunk) => splitter.push(decoder.write(chunk as Buffer));
    terminal.on("data", this.#onData);
    terminal.on("end", this.#onEnd);
  }

  setRawMode(isRaw: boolean): this {
    this.#terminal.setRawMode(isRaw);
    return this;
  }

  override resume(): this {
    this.#terminal.resume();
    return this;
  }

  override pause(): this {
    this.#terminal.pause();
    return this;
  }

  close(): void {
    this.#terminal.off("data", this.#onData);
    this.#terminal.off("end", this.#onEnd);
    this.#terminal.pause();
  }
}
