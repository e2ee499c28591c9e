/** What watches a server: counts, metrics and the monitor, opened with it and ended with it. */
import { availableParallelism, hostname } from "node:os";
import { join } from "node:path";
import { pageTokens } from "@bitnet.ts/core";
import { openEnergyMeter } from "@bitnet.ts/core/node";
import type { Admission } from "../admission.ts";
import type { Models } from "../models.ts";
import { Activity } from "./activity.ts";
import { createMetrics, kvUsage, type Metrics } from "./metrics.ts";
import { Monitor } from "./monitor.ts";
import type { MonitorSettings } from "./settings.ts";
import type { Reading } from "./snapshot.ts";
import { sweepHistories } from "./sweep-histories.ts";
import { TraceExporter, type TraceSettings } from "./trace-exporter.ts";
import { spansOf } from "./trace-spans.ts";
import { Webhook } from "./webhook.ts";

export interface Watching {
  readonly activity: Activity;
  readonly metrics: Metrics;
  readonly monitor: Monitor;
  close(): Promise<void>;
}

interface WatchingParts {
  readonly version: string;
  readonly models: Models;
  readonly admission: Admission;
  /** Batches in the hands of the server. */
  batches(): number;
  readonly settings: MonitorSettings;
  /** The data folder; null: nothing is kept. */
  readonly folder: string | null;
  /** What the server may take beside its models. */
  readonly ownBytes: number;
  /** What all models may take together; null: what those that are loaded do. */
  readonly memoryLimitBytes: number | null;
  /** Whether other servers use the folder, too. */
  readonly isShared: boolean;
  readonly port: number;
  readonly traces: TraceSettings | null;
  readonly log: (line: string) => void;
}

/** Counters of energy run round within minutes; they are read at least this often. */
const energyMs = 60_000;

export async function openWatching(parts: WatchingParts): Promise<Watching> {
  const { models, admission, settings, folder, log } = parts;
  const meter = openEnergyMeter();
  const joules = () => meter?.joules() ?? null;
  let monitor: Monitor | null = null;
  const metrics = createMetrics({
    version: parts.version,
    models: () => models.list,
    admission: () => admission.stats,
    batches: parts.batches,
    joules,
    alerts() {
      const active = monitor?.activeAlerts ?? [];
      const count = (severity: string) => active.filter((alert) => alert.severity === severity).length;
      return { warning: count("warning"), critical: count("critical") };
    },
  });
  const exporter = parts.traces === null ? null : new TraceExporter(parts.traces, parts.version, log);
  const activity = new Activity({
    answer: metrics.answer,
    gap: metrics.gap,
    request(ended) {
      metrics.request(ended);
      if (exporter !== null && ended.isAnswer) exporter.add(spansOf(ended));
    },
  });
  const read = (): Reading => {
    const { user, system } = process.cpuUsage();
    const { running, queued, queuedTokens, background } = admission.stats;
    const usages = models.list.map(({ model }) => (model === null ? 0 : kvUsage(model.stats())));
    return {
      time: Date.now(),
      totals: { ...activity.totals },
      cpuMicros: user + system,
      joules: joules(),
      memoryBytes: process.memoryUsage.rss(),
      plannedBytes: plannedBytes(parts),
      active: running,
      queued,
      queuedTokens,
      batchLines: background,
      kvUsage: Math.max(0, ...usages),
    };
  };
  const webhook = settings.webhook === null ? null : new Webhook(settings.webhook, log);
  const own = parts.isShared ? `monitor-${hostname()}-${parts.port}` : "monitor";
  if (folder !== null && parts.isShared) await sweepHistories(folder, own, Date.now());
  monitor = await Monitor.open({
    read,
    nCores: availableParallelism(),
    intervalMs: settings.intervalMs,
    thresholds: settings.thresholds,
    folder: folder === null ? null : join(folder, own),
    webhook,
    log,
  });
  const watched = monitor;
  const timer = setInterval(() => void watched.tick(), settings.intervalMs);
  const energyTimer = setInterval(joules, energyMs);
  timer.unref();
  energyTimer.unref();
  return {
    activity,
    metrics,
    monitor,
    async close() {
      clearInterval(timer);
      clearInterval(energyTimer);
      webhook?.close();
      await exporter?.close();
    },
  };
}

/** Null as long as no model is loaded: how much the first one takes is not known before. */
function plannedBytes({ models, ownBytes, memoryLimitBytes }: WatchingParts): number | null {
  const loaded = models.list.flatMap(({ model }) => (model === null ? [] : [model.stats()]));
  if (loaded.length === 0) return null;
  if (memoryLimitBytes !== null) return ownBytes + memoryLimitBytes;
  const needs = loaded.map(
    ({ privateBytes, mappedBytes, kvBytesPerToken, pagesInUse, pagesCached, pagesFree }) =>
      privateBytes + mappedBytes + kvBytesPerToken * pageTokens * (pagesInUse + pagesCached + pagesFree),
  );
  return needs.reduce((sum, need) => sum + need, ownBytes);
}
