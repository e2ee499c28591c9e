/**
 * Messages of earlier sessions for the arrow keys: one JSON text a line, readable by the user alone. A history that cannot be read or
 * written is none, and a damaged line of it is left out; it never stands in the way of a chat.
 */
import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

const maxEntries = 1000;

export interface ChatHistory {
  /** Oldest first. */
  readonly entries: readonly string[];
  add(message: string): void;
}

/** Where state belongs by the rules of the system. */
export function historyPath(environment: NodeJS.ProcessEnv = process.env): string {
  const { XDG_STATE_HOME, LOCALAPPDATA } = environment;
  const folder =
    XDG_STATE_HOME || (process.platform === "win32" && LOCALAPPDATA) || join(homedir(), ".local", "state");
  return join(folder, "bitnet", "history");
}

export const noHistory: ChatHistory = { entries: [], add() {} };

export function openHistory(path: string): ChatHistory {
  const text = read(path);
  const entries = text.split("\n").flatMap(entryOf);
  // Behind what a session wrote that died meanwhile.
  let separator = text === "" || text.endsWith("\n") ? "" : "\n";
  return {
    entries: entries.slice(-maxEntries),
    add(message) {
      try {
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
        if (entries.length < 2 * maxEntries)
          appendFileSync(path, `${separator}${line(message)}`, { mode: 0o600 });
        else rewrite(path, [...entries.splice(0, Number.POSITIVE_INFINITY).slice(-maxEntries), message]);
        separator = "";
        entries.push(message);
      } catch {
        // a full disk, a folder that is not ours
      }
    },
  };
}

function line(message: string): string {
  return `${JSON.stringify(message)}\n`;
}

function rewrite(path: string, messages: readonly string[]): void {
  const made = `${path}.${process.pid}.new`;
  writeFileSync(made, messages.map(line).join(""), { mode: 0o600 });
  renameSync(made, path);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function entryOf(text: string): string[] {
  try {
    const entry: unknown = JSON.parse(text);
    return typeof entry === "string" ? [entry] : [];
  } catch {
    return [];
  }
}
