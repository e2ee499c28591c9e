/**
 * Where the messages of a chat come from, and how lines become messages: piped lines here, a terminal in terminal-input.ts. Knows nothing
 * of models.
 */
import { BitNetError, onAbort } from "@bitnet.ts/core";
import { readLines } from "./read-input.ts";

export interface ChatInput {
  readonly isTerminal: boolean;
  /** The next message; null when there is none any more. */
  next(): Promise<string | null>;
  /** While an answer runs, an interrupt from the terminal goes to `handler`; the function that is returned ends that. */
  catchInterrupt(handler: () => void): () => void;
  close(): void;
}

const fence = '"""';

/**
 * Reads a message of one line or more: a backslash at the end of a line joins the next one, and between lines of three quotes
 * everything is taken as it is. `line` gives null at the end.
 */
export async function readMessage(
  line: (isContinuation: boolean) => Promise<string | null>,
): Promise<string | null> {
  const first = await line(false);
  if (first === null) return null;
  if (first.trimStart().startsWith(fence)) return readFenced(first.trimStart().slice(fence.length), line);
  const lines: string[] = [];
  for (let next: string | null = first; next !== null; next = await line(true)) {
    if (!next.endsWith("\\")) return [...lines, next].join("\n");
    lines.push(next.slice(0, -1));
  }
  return lines.join("\n");
}

async function readFenced(
  first: string,
  line: (isContinuation: boolean) => Promise<string | null>,
): Promise<string> {
  const lines: string[] = [];
  for (let next: string | null = first; next !== null; next = await line(true)) {
    if (next.trimEnd().endsWith(fence)) {
      lines.push(next.trimEnd().slice(0, -fence.length));
      break;
    }
    lines.push(next);
  }
  // The lines that hold only the quotes are none of the message's.
  if (lines[0] === "") lines.shift();
  if (lines.at(-1) === "") lines.pop();
  return lines.join("\n");
}

export function openPipedInput(signal: AbortSignal): ChatInput {
  const lines = readLines(process.stdin);
  const stopWaiting = onAbort(signal, () => process.stdin.destroy(new BitNetError("ABORTED", "interrupted")));
  const line = async () => {
    const { done, value } = await lines.next();
    return done ? null : value;
  };
  return {
    isTerminal: false,
    next: () => readMessage(line),
    catchInterrupt: () => () => {},
    close() {
      stopWaiting();
      process.stdin.destroy();
    },
  };
}
