/**
 * Alerts: begin when a value passes its threshold and end when it has come back by a tenth, so that one that hovers there does not
 * raise a new alert every minute. Kept for six hours after their end. Knows nothing of clocks or networks.
 */
import { isObject } from "../fields.ts";
import type { Snapshot } from "./snapshot.ts";

const alertNames = ["memory", "cpu", "idle_cpu", "errors", "first_token", "latency", "throughput"] as const;
export type AlertName = (typeof alertNames)[number];
/** Null: no alert. "planned": what the snapshot says that the server may take. */
export type Thresholds = Readonly<Record<Exclude<AlertName, "memory">, number | null>> & {
  readonly memory: number | "planned" | null;
};

export interface Alert {
  readonly type: AlertName;
  readonly severity: "warning" | "critical";
  readonly message: string;
  readonly threshold: number;
  /** Milliseconds since 1970. */
  readonly start: number;
  end: number | null;
  /** The worst so far. */
  peak: number;
}

/** Whether that was read which a server has written. */
export function isAlert(value: unknown): value is Alert {
  if (!isObject(value)) return false;
  const { type, severity, message, threshold, start, end, peak } = value;
  return (
    alertNames.some((name) => name === type) &&
    (severity === "warning" || severity === "critical") &&
    typeof message === "string" &&
    [threshold, start, end ?? 0, peak].every(Number.isFinite) &&
    end !== undefined
  );
}

export const keptMs = 6 * 3600 * 1000;
const maxAlerts = 1000;

/**
 * MiB, per cent, per cent, per cent, milliseconds, milliseconds, tokens a second. How long a request takes is up to the length of its
 * answer, so that the first token, by which a server is too slow or too busy, is what counts. One answer keeps all processors busy, which
 * is how it should be; that they are busy for nobody is not.
 */
export const defaultThresholds: Thresholds = {
  memory: "planned",
  cpu: null,
  idle_cpu: 50,
  errors: 5,
  first_token: 5000,
  latency: null,
  throughput: 5,
};

/** Of a small service with short answers. */
export const referenceThresholds: Thresholds = {
  memory: 1024,
  cpu: 80,
  idle_cpu: null,
  errors: 5,
  first_token: null,
  latency: 5000,
  throughput: 5,
};

interface Rule {
  readonly severity: Alert["severity"];
  readonly side: "above" | "below";
  /** Null: nothing was measured, which is no reason for an alert. */
  value(snapshot: Snapshot, before: Snapshot | null): number | null;
  message(value: number, threshold: number): string;
}

const rules: Readonly<Record<AlertName, Rule>> = {
  memory: {
    severity: "warning",
    side: "above",
    value: ({ memory_mb }) => memory_mb,
    message: (value, threshold) => `memory is ${value.toFixed(0)} MiB, above ${threshold.toFixed(0)} MiB`,
  },
  cpu: {
    severity: "warning",
    side: "above",
    value: ({ cpu_percent }) => cpu_percent,
    message: (value, threshold) => `the processors are ${value.toFixed(0)} % busy, above ${threshold} %`,
  },
  idle_cpu: {
    severity: "warning",
    side: "above",
    // The first stretch holds the start itself.
    value: (snapshot, before) =>
      before === null || hasWork(before) || hasWork(snapshot) ? null : snapshot.cpu_percent,
    message: (value, threshold) =>
      `the processors are ${value.toFixed(0)} % busy although nobody asks for anything, above ${threshold} %`,
  },
  errors: {
    severity: "critical",
    side: "above",
    value: ({ error_rate }) => (error_rate === null ? null : 100 * error_rate),
    message: (value, threshold) => `${value.toFixed(1)} % of requests failed, above ${threshold} %`,
  },
  first_token: {
    severity: "warning",
    side: "above",
    value: ({ first_token_ms }) => first_token_ms,
    message: (value, threshold) => `the first token takes ${value.toFixed(0)} ms, above ${threshold} ms`,
  },
  latency: {
    severity: "warning",
    side: "above",
    value: ({ latency_ms }) => latency_ms,
    message: (value, threshold) => `requests take ${value.toFixed(0)} ms, above ${threshold} ms`,
  },
  throughput: {
    severity: "warning",
    side: "below",
    // A request that has just begun, or just ended, says nothing about the time between.
    value: ({ tokens_per_second, active }, before) =>
      active > 0 && before !== null && before.active > 0 ? tokens_per_second : null,
    message: (value, threshold) =>
      `${value.toFixed(1)} tokens a second while requests run, below ${threshold}`,
  },
};

/** Whether anything has been asked of the server since the snapshot before. */
function hasWork({ requests, active, queued, batch_lines, tokens_per_second }: Snapshot): boolean {
  return requests + active + queued + batch_lines + tokens_per_second > 0;
}

export class Alerts {
  readonly #thresholds: Thresholds;
  #alerts: Alert[];
  #before: Snapshot | null = null;

  /** @param kept Of an earlier run. */
  constructor(thresholds: Thresholds, kept: readonly Alert[] = []) {
    this.#thresholds = thresholds;
    this.#alerts = kept.slice(-maxAlerts).map((alert) => ({ ...alert }));
  }

  get active(): readonly Alert[] {
    return this.#alerts.filter((alert) => alert.end === null);
  }

  /** Those that hold and those of the last hours, oldest first. */
  get list(): readonly Alert[] {
    return this.#alerts;
  }

  /** @returns Alerts that have begun or ended. */
  check(snapshot: Snapshot): Alert[] {
    const changed: Alert[] = [];
    for (const type of alertNames) {
      const alert = this.#checkRule(type, snapshot);
      if (alert !== null) changed.push(alert);
    }
    this.#before = snapshot;
    const oldest = snapshot.time - keptMs;
    this.#alerts = this.#alerts.filter(({ end }) => end === null || end > oldest).slice(-maxAlerts);
    return changed;
  }

  #checkRule(type: AlertName, snapshot: Snapshot): Alert | null {
    const rule = rules[type];
    const given = this.#thresholds[type];
    const threshold = given === "planned" ? snapshot.memory_planned_mb : given;
    const value = rule.value(snapshot, this.#before);
    const held = this.#alerts.find((alert) => alert.type === type && alert.end === null);
    const sign = rule.side === "above" ? 1 : -1;
    if (held !== undefined) {
      if (threshold === null || value === null || sign * (value - threshold * (1 - sign * 0.1)) < 0) {
        held.end = snapshot.time;
        return held;
      }
      if (sign * (value - held.peak) > 0) held.peak = value;
      return null;
    }
    if (threshold === null || value === null || sign * (value - threshold) <= 0) return null;
    const message = rule.message(value, threshold);
    const { severity } = rule;
    const alert: Alert = { type, severity, message, threshold, start: snapshot.time, end: null, peak: value };
    this.#alerts.push(alert);
    return alert;
  }
}
