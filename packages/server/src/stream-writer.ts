/**
 * Writes a streamed answer: waits for slow readers, cuts off those who take nothing for too long, and keeps the connection alive while
 * there is nothing to say. Knows nothing of what it writes.
 */
import type { ServerResponse } from "node:http";
import { ServeError } from "./errors.ts";

interface StreamOptions {
  headers: Record<string, string | number | string[]>;
  /** A reader who takes nothing for so long is cut off. */
  stallMs: number;
  /** Sent when nothing else has been for `keepAliveMs`; null: nothing is. */
  keepAlive: string | null;
  keepAliveMs: number;
}

export class StreamWriter {
  readonly #raw: ServerResponse;
  readonly #options: StreamOptions;
  #keepAliveTimer: NodeJS.Timeout | null = null;
  #isEnded = false;

  constructor(raw: ServerResponse, options: StreamOptions) {
    this.#raw = raw;
    this.#options = options;
    raw.writeHead(200, options.headers);
    raw.flushHeaders();
    if (options.keepAlive !== null) {
      raw.write(options.keepAlive);
      this.#keepAliveTimer = setInterval(() => {
        if (!raw.writableNeedDrain) raw.write(options.keepAlive);
      }, options.keepAliveMs);
      raw.once("close", () => this.#stopTimer());
    }
  }

  get isEnded(): boolean {
    return this.#isEnded || this.#raw.destroyed;
  }

  /** Resolves when more may be written. @throws ServeError ABORTED when the reader has left or takes nothing any more. */
  async write(text: string): Promise<void> {
    // One of several answers may still have pieces when the stream has ended with the failure of another.
    if (this.isEnded) throw new ServeError("ABORTED", "the stream has ended or the client has left");
    this.#keepAliveTimer?.refresh();
    if (this.#raw.write(text)) return;
    await new Promise<void>((resolve, reject) => {
      const finish = (error?: ServeError) => {
        clearTimeout(timer);
        this.#raw.off("drain", onDrain);
        this.#raw.off("close", onClose);
        if (error) reject(error);
        else resolve();
      };
      const onDrain = () => finish();
      const onClose = () => finish(new ServeError("ABORTED", "the client has left"));
      const timer = setTimeout(() => {
        this.#raw.destroy();
        finish(new ServeError("ABORTED", "the client takes nothing of its answer"));
      }, this.#options.stallMs);
      this.#raw.once("drain", onDrain);
      this.#raw.once("close", onClose);
    });
  }

  /** Ends the answer; a reader who does not take the rest in time is cut off. */
  end(text = ""): void {
    if (this.isEnded) return;
    this.#isEnded = true;
    this.#stopTimer();
    const raw = this.#raw;
    raw.end(text);
    if (raw.writableFinished) return;
    const timer = setTimeout(() => raw.destroy(), this.#options.stallMs);
    timer.unref();
    raw.once("finish", () => clearTimeout(timer));
    raw.once("close", () => clearTimeout(timer));
  }

  #stopTimer(): void {
    if (this.#keepAliveTimer !== null) clearInterval(this.#keepAliveTimer);
    this.#keepAliveTimer = null;
  }
}
