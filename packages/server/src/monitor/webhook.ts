/** Tells another program of alerts: one POST for each beginning and end, in order, tried a few times. */
import { pause } from "@bitnet.ts/core";
import type { Alert } from "./alerts.ts";

interface Patience {
  /** Of one attempt. */
  readonly timeoutMs: number;
  /** Between attempts. */
  readonly retryMs: readonly number[];
}

const patience: Patience = { timeoutMs: 5000, retryMs: [1000, 5000, 20_000] };
/** A receiver that is away for long loses the oldest. */
const maxWaiting = 100;

export class Webhook {
  readonly #url: string;
  readonly #log: (line: string) => void;
  readonly #patience: Patience;
  readonly #waiting: Alert[] = [];
  readonly #ended = new AbortController();
  #sending: Promise<void> | null = null;

  constructor(url: string, log: (line: string) => void, { timeoutMs, retryMs }: Patience = patience) {
    this.#url = url;
    this.#log = log;
    this.#patience = { timeoutMs, retryMs };
  }

  send(alert: Alert): void {
    this.#waiting.push({ ...alert });
    if (this.#waiting.length > maxWaiting) this.#waiting.shift();
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = null;
    });
  }

  /** Resolves when nothing is on its way. */
  async idle(): Promise<void> {
    await this.#sending;
  }

  close(): void {
    this.#ended.abort();
    this.#waiting.length = 0;
  }

  async #sendAll(): Promise<void> {
    for (let alert = this.#waiting.shift(); alert !== undefined; alert = this.#waiting.shift())
      await this.#sendOne(alert);
  }

  async #sendOne(alert: Alert): Promise<void> {
    const body = JSON.stringify({ event: alert.end === null ? "alert.started" : "alert.ended", alert });
    for (let attempt = 0; !this.#ended.signal.aborted; attempt++) {
      const problem = await this.#post(body);
      if (problem === null) return;
      const delay = this.#patience.retryMs[attempt];
      if (delay === undefined)
        return this.#log(`monitor: the alert "${alert.type}" could not be sent: ${problem}`);
      await pause(delay, this.#ended.signal);
    }
  }

  async #post(body: string): Promise<string | null> {
    try {
      const signal = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(this.#patience.timeoutMs)]);
      const headers = { "content-type": "application/json" };
      const response = await fetch(this.#url, { method: "POST", headers, body, signal, redirect: "error" });
      await response.body?.cancel();
      return response.ok ? null : `status ${response.status}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}
