/** Averages, peaks and rates of a stretch of history. */
import { type Snapshot, snapshotFields } from "./snapshot.ts";

type Measured = Exclude<(typeof snapshotFields)[number], "time" | "requests" | "failed">;

export interface Summary {
  readonly hours: number;
  readonly snapshots: number;
  readonly interval_s: number;
  readonly from: string | null;
  readonly to: string | null;
  readonly requests: number;
  readonly failed: number;
  /** Null without requests. */
  readonly success_rate: number | null;
  readonly tokens: number;
  /** Watt seconds; null where the machine does not tell. */
  readonly joules: number | null;
  readonly alerts: number;
  readonly average: Readonly<Record<Measured, number | null>>;
  readonly peak: Readonly<Record<Measured, number | null>>;
  readonly latest: Snapshot | null;
}

export function summarise(
  snapshots: readonly Snapshot[],
  { hours, alerts, intervalMs }: { hours: number; alerts: number; intervalMs: number },
): Summary {
  const interval = intervalMs / 1000;
  const sum = (field: keyof Snapshot) => snapshots.reduce((total, each) => total + (each[field] ?? 0), 0);
  const requests = sum("requests");
  const failed = sum("failed");
  const measured = snapshotFields.filter(
    (field): field is Measured => !["time", "requests", "failed"].includes(field),
  );
  const values = (field: Measured) =>
    snapshots.map((each) => each[field]).filter((value): value is number => value !== null);
  const over = (combine: (list: number[]) => number) =>
    Object.fromEntries(
      measured.map((field) => {
        const list = values(field);
        return [field, list.length === 0 ? null : combine(list)];
      }),
    ) as Record<Measured, number | null>;
  const average = over((list) => list.reduce((total, value) => total + value, 0) / list.length);
  const at = (snapshot: Snapshot | undefined) =>
    snapshot === undefined ? null : new Date(snapshot.time).toISOString();
  return {
    hours,
    snapshots: snapshots.length,
    interval_s: interval,
    from: at(snapshots[0]),
    to: at(snapshots.at(-1)),
    requests,
    failed,
    success_rate: requests === 0 ? null : 1 - failed / requests,
    tokens: Math.round(sum("tokens_per_second") * interval),
    joules: values("watts").length === 0 ? null : sum("watts") * interval,
    alerts,
    // Averages over requests, not over snapshots: a quiet minute must not weigh as much as a busy one.
    average: {
      ...average,
      latency_ms: weighted(snapshots, "latency_ms"),
      error_rate: requests === 0 ? null : failed / requests,
    },
    peak: over((list) => list.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY)),
    latest: snapshots.at(-1) ?? null,
  };
}

function weighted(snapshots: readonly Snapshot[], field: "latency_ms"): number | null {
  let sum = 0;
  let weight = 0;
  for (const each of snapshots)
    if (each[field] !== null) {
      sum += each[field] * each.requests;
      weight += each.requests;
    }
  return weight === 0 ? null : sum / weight;
}
