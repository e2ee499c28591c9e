/**
 * One run of the program: its standard output, what ends it early (signals, a reader of stdout who left) and its exit status.
 * Knows nothing of commands.
 */
import { once } from "node:events";
import { dim } from "./terminal.ts";
import { visible } from "./visible.ts";

/** Why a run ended before its work was done. */
type EarlyEnd = "SIGINT" | "SIGTERM" | "SIGHUP" | "EPIPE";

const exitStatusOf: Readonly<Record<EarlyEnd, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, EPIPE: 0 };
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface Session {
  /** Fires on the first SIGINT, SIGTERM or SIGHUP and when nobody reads stdout any more. */
  readonly signal: AbortSignal;
  /** Null as long as nothing of the kind has happened. */
  readonly endedBy: EarlyEnd | null;
  /**
   * Writes to stdout, waiting when its reader is slow. Writes nothing once the reader has left. A terminal gets control characters as
   * signs, unless raw output was asked for; files and pipes get every byte.
   */
  write(text: string): Promise<void>;
  /** A line on stderr, control characters as in `write`; nothing once the reader of stdout has left: such an end is quiet. */
  note(line: string): void;
  /** The same in faint letters. */
  aside(line: string): void;
  /** From now on terminals get control characters as they are. */
  allowRaw(): void;
  /** Reports failure in the exit status, unless something else ended the run. */
  fail(status?: number): void;
  /** Sets the exit status and gives the signals back. */
  close(): void;
}

export function openSession(): Session {
  const controller = new AbortController();
  let endedBy: EarlyEnd | null = null;
  let failure = 0;
  let isRaw = false;

  const shown = (text: string, stream: { isTTY?: boolean }) =>
    stream.isTTY === true && !isRaw ? visible(text) : text;
  const end = (reason: EarlyEnd) => {
    endedBy ??= reason;
    controller.abort(new Error(reason));
  };
  const onSignal = (name: (typeof signals)[number]) => {
    if (endedBy === null) end(name);
    else process.exit(exitStatusOf[name]);
  };
  const onOutputError = (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED") return end("EPIPE");
    process.stderr.write(`bitnet: writing to stdout failed: ${error.message}\n`);
    failure = 1;
    end("EPIPE");
  };
  for (const name of signals) process.on(name, onSignal);
  process.stdout.on("error", onOutputError);
  process.stderr.on("error", () => {}); // nowhere to report it

  return {
    signal: controller.signal,
    get endedBy() {
      return endedBy;
    },
    async write(text) {
      if (endedBy === "EPIPE" || process.stdout.write(shown(text, process.stdout))) return;
      await once(process.stdout, "drain", { signal: controller.signal }).catch(() => {});
    },
    note(line) {
      if (endedBy !== "EPIPE") process.stderr.write(`${shown(line, process.stderr)}\n`);
    },
    aside(line) {
      if (endedBy !== "EPIPE") process.stderr.write(`${dim(shown(line, process.stderr))}\n`);
    },
    allowRaw() {
      isRaw = true;
    },
    fail(status = 1) {
      failure ||= status;
    },
    close() {
      for (const name of signals) process.off(name, onSignal);
      const early = endedBy === null ? 0 : exitStatusOf[endedBy];
      process.exitCode = early === 0 ? failure : early;
    },
  };
}
