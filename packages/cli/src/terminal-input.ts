/**
 * Messages from a terminal: line editing, pastes of many lines, history, and the keys that interrupt and suspend. Line editing needs
 * the terminal in raw mode, where Ctrl-C and Ctrl-Z are keys.
 */
import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import type { ChatHistory } from "./chat-history.ts";
import { type ChatInput, readMessage } from "./chat-input.ts";
import { disablePastes, enablePastes, KeyStream } from "./keys.ts";
import { dim, movesCursor } from "./terminal.ts";

const prompt = "> ";
const continuationPrompt = "… ";
/** Stands for a newline in the line that is edited; the second character has no width, and nobody types it. */
const newlineSign = "⏎\u200b";
const ctrlC = "\u0003";
const hint = "(Ctrl-C again, Ctrl-D or /bye leaves)";

/**
 * Ctrl-C stops an answer, clears a line that has text, and leaves when it is pressed twice on an empty one. What is typed while an
 * answer runs is shown when it is sent.
 */
export function openTerminalInput(signal: AbortSignal, history: ChatHistory): ChatInput {
  const terminal = process.stdout;
  const output = new MutedOutput(terminal);
  const keys = new KeyStream(process.stdin, (text) => {
    reader.write(asLine(text));
  });
  let hasHinted = false;
  // Before readline hears of them: several keys may come at once.
  keys.on("data", (text) => {
    if (text !== ctrlC) hasHinted = false;
  });
  const reader: Interface = createInterface({
    input: keys,
    output,
    terminal: true,
    historySize: 1000,
    history: history.entries.map(asLine).reverse(),
    removeHistoryDuplicates: true,
    escapeCodeTimeout: 100,
  });
  const lines = new LineQueue(reader);
  const isDumb = !movesCursor(terminal);
  const switchPastes = (sequence: string) => {
    if (!isDumb) terminal.write(sequence);
  };
  let interrupted: (() => void) | null = null;
  const close = () => reader.close();
  const restore = () => {
    keys.setRawMode(false); // the driver may have been told otherwise since
    keys.setRawMode(true);
    switchPastes(enablePastes);
    if (!output.isMuted) reader.prompt(true);
  };
  signal.addEventListener("abort", close);
  process.on("SIGCONT", restore);
  switchPastes(enablePastes);
  reader.on("SIGINT", () => {
    const handler = interrupted;
    interrupted = null; // the second one leaves
    if (handler !== null) return handler();
    if (output.isMuted || (reader.line === "" && hasHinted)) return reader.close();
    hasHinted = reader.line === "";
    output.write(hasHinted ? `\n${dim(hint)}\n` : "^C\n");
    reader.write(null, { ctrl: true, name: "e" });
    reader.write(null, { ctrl: true, name: "u" });
    if (isDumb) Object.assign(reader, { line: "", cursor: 0 }); // readline has no editing there
    reader.prompt();
  });
  reader.on("SIGTSTP", () => {
    keys.setRawMode(false);
    switchPastes(disablePastes);
    terminal.write("\n");
    // The whole group, since a shell waits for the npx that started this process.
    process.kill(0, "SIGTSTP");
  });
  return {
    isTerminal: true,
    async next() {
      output.isMuted = false;
      const message = await readMessage(async (isContinuation) => {
        reader.setPrompt(isContinuation ? continuationPrompt : prompt);
        const early = lines.early();
        if (early !== null) terminal.write(`${reader.getPrompt()}${early}\n`);
        else if (!lines.hasEnded) reader.prompt(true);
        const line = early ?? (await lines.next());
        return line === null ? null : line.replaceAll(newlineSign, "\n");
      });
      if (message === null) terminal.write("\n");
      else if (message.trim() !== "") history.add(message);
      output.isMuted = true;
      return message;
    },
    catchInterrupt(handler) {
      interrupted = handler;
      return () => {
        interrupted = null;
      };
    },
    close() {
      signal.removeEventListener("abort", close);
      process.off("SIGCONT", restore);
      close();
      keys.close();
      switchPastes(disablePastes);
    },
  };
}

/** A text as one line of the editor. */
function asLine(text: string): string {
  return text
    .replaceAll(/\r\n?/g, "\n")
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, (character) => (/[\n\t]/.test(character) ? character : ""))
    .replaceAll("\n", newlineSign);
}

/** Passes on to a terminal what readline draws, unless an answer is being printed there. */
class MutedOutput extends Writable {
  isMuted = false;
  readonly isTTY = true;
  private readonly terminal: typeof process.stdout;

  constructor(terminal: typeof process.stdout) {
    super({ decodeStrings: false });
    this.terminal = terminal;
    terminal.on("resize", () => this.emit("resize"));
  }

  get columns(): number {
    return this.terminal.columns;
  }

  override _write(
    chunk: string | Uint8Array,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    if (this.isMuted) done();
    else this.terminal.write(chunk, done);
  }
}

/** Lines as they are typed, before and after somebody waits for them; null once the input has ended. */
class LineQueue {
  hasEnded = false;
  private readonly queue: string[] = [];
  private waiter: ((line: string | null) => void) | null = null;

  constructor(reader: Interface) {
    reader.on("line", (line) => {
      if (this.waiter === null) this.queue.push(line);
      else this.answer(line);
    });
    reader.on("close", () => {
      this.hasEnded = true;
      this.answer(null);
    });
  }

  /** A line that was typed before somebody waited for it. */
  early(): string | null {
    return this.queue.shift() ?? null;
  }

  next(): Promise<string | null> {
    if (this.hasEnded) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.waiter = resolve;
    });
  }

  private answer(line: string | null): void {
    this.waiter?.(line);
    this.waiter = null;
  }
}
