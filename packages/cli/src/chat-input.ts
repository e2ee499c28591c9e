/**
 * Where the messages of a chat come from: a terminal with line editing and history, or piped lines. A backslash at the end of a line
 * continues the message. Knows nothing of models.
 */
import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import { BitNetError } from "@bitnet.ts/core";
import { readLines } from "./read-input.ts";

export interface ChatInput {
  readonly isTerminal: boolean;
  /** The next message; null when there is none any more. */
  next(): Promise<string | null>;
  /** While an answer runs, an interrupt from the terminal goes to `handler`; the function that is returned ends that. */
  catchInterrupt(handler: () => void): () => void;
  close(): void;
}

const prompt = "> ";
const continuationPrompt = "… ";

/** Joins lines that end with a backslash to the next one. `line` gives null at the end. */
export async function readMessage(
  line: (isContinuation: boolean) => Promise<string | null>,
): Promise<string | null> {
  const lines: string[] = [];
  for (;;) {
    const next = await line(lines.length > 0);
    if (next === null) return lines.length > 0 ? lines.join("\n") : null;
    if (!next.endsWith("\\")) return [...lines, next].join("\n");
    lines.push(next.slice(0, -1));
  }
}

export function openPipedInput(signal: AbortSignal): ChatInput {
  const lines = readLines(process.stdin);
  const stop = () => process.stdin.destroy(new BitNetError("ABORTED", "interrupted"));
  signal.addEventListener("abort", stop);
  const line = async () => {
    const { done, value } = await lines.next();
    return done ? null : value;
  };
  return {
    isTerminal: false,
    next: () => readMessage(line),
    catchInterrupt: () => () => {},
    close() {
      signal.removeEventListener("abort", stop);
      process.stdin.destroy();
    },
  };
}

/**
 * Line editing needs the terminal in raw mode, where Ctrl-C is a key: it clears a line that has text, and leaves on an empty one.
 * What is typed while an answer runs is not shown and becomes the next message.
 */
export function openTerminalInput(signal: AbortSignal): ChatInput {
  const output = new MutedOutput(process.stdout);
  const reader = createInterface({ input: process.stdin, output, terminal: true, historySize: 1000 });
  const lines = new LineQueue(reader);
  let interrupted: (() => void) | null = null;
  const close = () => reader.close();
  signal.addEventListener("abort", close);
  reader.on("SIGINT", () => {
    const handler = interrupted;
    interrupted = null; // the second one leaves
    if (handler !== null) return handler();
    if (reader.line === "" || output.isMuted) return reader.close();
    output.write("^C\n");
    reader.write(null, { ctrl: true, name: "e" });
    reader.write(null, { ctrl: true, name: "u" });
    reader.prompt();
  });
  return {
    isTerminal: true,
    async next() {
      output.isMuted = false;
      const message = await readMessage((isContinuation) => {
        reader.setPrompt(isContinuation ? continuationPrompt : prompt);
        if (!lines.hasEnded) reader.prompt();
        return lines.next();
      });
      if (message === null) process.stdout.write("\n");
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
      close();
    },
  };
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

  next(): Promise<string | null> {
    const line = this.queue.shift();
    if (line !== undefined) return Promise.resolve(line);
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
