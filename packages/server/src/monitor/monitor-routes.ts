/** What the server tells those who watch it: Prometheus' text, and the monitor's history, summary and alerts. */
import { availableParallelism } from "node:os";
import { invalid } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { type Snapshot, snapshotFields } from "./snapshot.ts";

export async function showMetrics({ serving, reply }: Exchange): Promise<void> {
  const { metrics } = serving.watching;
  await reply.header("content-type", metrics.contentType).send(await metrics.text());
}

export async function showSummary(exchange: Exchange): Promise<void> {
  exchange.sendJson(exchange.serving.watching.monitor.summary(readHours(exchange, 1)));
}

export async function showHistory(exchange: Exchange): Promise<void> {
  const { monitor } = exchange.serving.watching;
  exchange.sendJson({ interval_ms: monitor.intervalMs, snapshots: monitor.history(readHours(exchange, 1)) });
}

/** Counters of this moment, from which whoever asks twice makes rates. */
export async function showLive(exchange: Exchange): Promise<void> {
  const { serving } = exchange;
  const { totals, ...values } = serving.watching.monitor.read();
  exchange.sendJson({
    version: serving.version,
    state: serving.state,
    uptime_s: (Date.now() - serving.startedAt.getTime()) / 1000,
    models: serving.models.list.map(({ name, model }) => ({ name, loaded: model !== null })),
    nCores: availableParallelism(),
    ...values,
    ...totals,
    alerts: serving.watching.monitor.activeAlerts,
  });
}

export async function showAlerts(exchange: Exchange): Promise<void> {
  const alerts = exchange.serving.watching.monitor.alerts.map((alert) => ({
    ...alert,
    start: new Date(alert.start).toISOString(),
    end: alert.end === null ? null : new Date(alert.end).toISOString(),
    active: alert.end === null,
  }));
  exchange.sendJson({ alerts });
}

export async function exportHistory(exchange: Exchange): Promise<void> {
  const { monitor } = exchange.serving.watching;
  const { format = "json" } = exchange.request.query as { format?: unknown };
  const hours = readHours(exchange, 24);
  const snapshots = monitor.history(hours);
  if (format === "csv") {
    await exchange.reply
      .header("content-type", "text/csv; charset=utf-8")
      .header("content-disposition", 'attachment; filename="bitnet-monitor.csv"')
      .send(csvOf(snapshots));
    return;
  }
  if (format !== "json") throw invalid("format", "json or csv");
  exchange.reply.header("content-disposition", 'attachment; filename="bitnet-monitor.json"');
  exchange.sendJson({ summary: monitor.summary(hours), alerts: monitor.alerts, snapshots });
}

/** RFC 4180; nothing is an empty field, times are in ISO 8601. */
function csvOf(snapshots: readonly Snapshot[]): string {
  const cell = (snapshot: Snapshot, field: (typeof snapshotFields)[number]) =>
    field === "time" ? new Date(snapshot.time).toISOString() : String(snapshot[field] ?? "");
  const rows = snapshots.map((each) => snapshotFields.map((field) => cell(each, field)).join(","));
  return [snapshotFields.join(","), ...rows, ""].join("\r\n");
}

function readHours(exchange: Exchange, byDefault: number): number {
  const { hours } = exchange.request.query as { hours?: unknown };
  const value = hours === undefined ? byDefault : Number(hours);
  if (Number.isFinite(value) && value > 0 && value <= 24) return value;
  throw invalid("hours", "a number above 0 and at most 24");
}
