/**
 * One run of the program: its standard output, what ends it early (signals, a reader of stdout who left) and its exit status.
 * Knows nothing of commands.
 */
import { once } from "node:events";

/** Why a run ended before its work was done. */
type EarlyEnd = "SIGINT" | "SIGTERM" | "EPIPE";

const exitStatusOf: Readonly<Record<EarlyEnd, number>> = { SIGINT: 130, SIGTERM: 143, EPIPE: 0 };

export interface Session {
  /** Fires on the first SIGINT or SIGTERM and when nobody reads stdout any more. */
  readonly signal: AbortSignal;
  /** Null as long as nothing of the kind has happened. */
  readonly endedBy: EarlyEnd | null;
  /** Writes to stdout, waiting when its reader is slow. Writes nothing once the reader has left. */
  write(text: string): Promise<void>;
  /** A line on stderr; nothing once the reader of stdout has left: such an end is quiet. */
  note(line: string): void;
  /** Reports failure in the exit status, unless something else ended the run. */
  fail(): void;
  /** Sets the exit status and gives the signals back. */
  close(): void;
}

export function openSession(): Session {
  const controller = new AbortController();
  let endedBy: EarlyEnd | null = null;
  let hasFailed = false;

  const end = (reason: EarlyEnd) => {
    endedBy ??= reason;
    controller.abort(new Error(reason));
  };
  const onSignal = (name: "SIGINT" | "SIGTERM") => {
    if (endedBy === null) end(name);
    else process.exit(exitStatusOf[name]);
  };
  const onOutputError = (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED") return end("EPIPE");
    process.stderr.write(`bitnet: writing to stdout failed: ${error.message}\n`);
    hasFailed = true;
    end("EPIPE");
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  process.stdout.on("error", onOutputError);
  process.stderr.on("error", () => {}); // nowhere to report it

  return {
    signal: controller.signal,
    get endedBy() {
      return endedBy;
    },
    async write(text) {
      if (endedBy === "EPIPE" || process.stdout.write(text)) return;
      await once(process.stdout, "drain", { signal: controller.signal }).catch(() => {});
    },
    note(line) {
      if (endedBy !== "EPIPE") process.stderr.write(`${line}\n`);
    },
    fail() {
      hasFailed = true;
    },
    close() {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
      const early = endedBy === null ? 0 : exitStatusOf[endedBy];
      process.exitCode = early === 0 && hasFailed ? 1 : early;
    },
  };
}
