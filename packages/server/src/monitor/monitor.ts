/**
 * Watches a server: a snapshot every so often, a day of history, alerts. Time and readings are handed in. What cannot be written to disk
 * is reported once and does not stop it.
 */
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../store/write-durably.ts";
import { type Alert, Alerts, isAlert, type Thresholds } from "./alerts.ts";
import { History } from "./history.ts";
import { type Reading, type Snapshot, takeSnapshot } from "./snapshot.ts";
import { type Summary, summarise } from "./summary.ts";
import type { Webhook } from "./webhook.ts";

export interface MonitorParts {
  read(): Reading;
  readonly nCores: number;
  readonly intervalMs: number;
  readonly thresholds: Thresholds;
  /** Where history and alerts are kept; null: in memory only. */
  readonly folder: string | null;
  readonly webhook: Webhook | null;
  readonly log: (line: string) => void;
}

const hourMs = 3600 * 1000;

export class Monitor {
  readonly #parts: MonitorParts;
  readonly #history: History;
  readonly #alerts: Alerts;
  #last: Reading;
  #hasFailed = false;

  private constructor(parts: MonitorParts, history: History, alerts: Alerts, last: Reading) {
    this.#parts = parts;
    this.#history = history;
    this.#alerts = alerts;
    this.#last = last;
  }

  static async open(parts: MonitorParts): Promise<Monitor> {
    const { folder, intervalMs } = parts;
    const reading = parts.read();
    const path = folder === null ? null : join(folder, "snapshots.jsonl");
    const history = await History.open(path, intervalMs, reading.time);
    return new Monitor(parts, history, new Alerts(parts.thresholds, await readAlerts(folder)), reading);
  }

  get intervalMs(): number {
    return this.#parts.intervalMs;
  }

  get alerts(): readonly Alert[] {
    return this.#alerts.list;
  }

  get activeAlerts(): readonly Alert[] {
    return this.#alerts.active;
  }

  /** Counters and values of this moment. */
  read(): Reading {
    return this.#parts.read();
  }

  /** Takes a snapshot; resolves when it is on disk. */
  async tick(): Promise<void> {
    const reading = this.#parts.read();
    const snapshot = takeSnapshot(this.#last, reading, this.#parts.nCores);
    this.#last = reading;
    const changed = this.#alerts.check(snapshot);
    for (const alert of changed) {
      this.#parts.webhook?.send(alert);
      this.#parts.log(
        `monitor: ${alert.end === null ? alert.severity : "over"}: ${alert.type}: ${alert.message}`,
      );
    }
    try {
      await this.#history.add(snapshot);
      if (changed.length > 0) await this.#saveAlerts();
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed)
        this.#parts.log(
          `monitor: history cannot be kept: ${error instanceof Error ? error.message : String(error)}`,
        );
      this.#hasFailed = true;
    }
  }

  history(hours: number): Snapshot[] {
    return this.#history.since(this.#parts.read().time - hours * hourMs);
  }

  summary(hours: number): Summary {
    const since = this.#parts.read().time - hours * hourMs;
    const alerts = this.#alerts.list.filter(({ end }) => end === null || end >= since);
    return summarise(this.#history.since(since), {
      hours,
      alerts: alerts.length,
      intervalMs: this.intervalMs,
    });
  }

  async #saveAlerts(): Promise<void> {
    const { folder } = this.#parts;
    if (folder === null) return;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const part = join(folder, ".alerts.part");
    await rm(part, { force: true }); // a crash may have left it
    await writeDurably(part, JSON.stringify(this.#alerts.list));
    await rename(part, join(folder, "alerts.json"));
  }
}

async function readAlerts(folder: string | null): Promise<Alert[]> {
  if (folder === null) return [];
  try {
    const value: unknown = JSON.parse(await readFile(join(folder, "alerts.json"), "utf8"));
    return Array.isArray(value) ? value.filter(isAlert) : [];
  } catch {
    return [];
  }
}
