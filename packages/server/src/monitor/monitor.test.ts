import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AlertName, Alerts, defaultThresholds, keptMs, referenceThresholds } from "./alerts.ts";
import { History, historyMs } from "./history.ts";
import { Monitor, type MonitorParts } from "./monitor.ts";
import type { Reading, Snapshot } from "./snapshot.ts";
import { Webhook } from "./webhook.ts";

const minute = 60_000;
const start = Date.UTC(2026, 0, 1);
const quiet: Snapshot = {
  time: start,
  memory_mb: 100,
  memory_planned_mb: 2048,
  cpu_percent: 5,
  tokens_per_second: 50,
  requests: 10,
  failed: 0,
  active: 1,
  queued: 0,
  queued_tokens: 0,
  batch_lines: 0,
  kv_usage: 0.25,
  cache_hit_rate: 0.5,
  error_rate: 0,
  latency_ms: 200,
  first_token_ms: 80,
  watts: null,
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-monitor-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("alerts", () => {
  const cases: [
    AlertName,
    Partial<Snapshot>,
    Partial<Snapshot>,
    Partial<Snapshot>,
    "warning" | "critical",
  ][] = [
    ["memory", { memory_mb: 2049 }, { memory_mb: 2000 }, { memory_mb: 1840 }, "warning"],
    ["errors", { error_rate: 0.06 }, { error_rate: 0.049 }, { error_rate: 0.04 }, "critical"],
    ["first_token", { first_token_ms: 5001 }, { first_token_ms: 4600 }, { first_token_ms: 4400 }, "warning"],
    [
      "throughput",
      { tokens_per_second: 4.9 },
      { tokens_per_second: 5.4 },
      { tokens_per_second: 5.6 },
      "warning",
    ],
  ];
  it.each(cases)(
    "%s begins at its threshold and ends a tenth beyond it",
    (type, bad, better, good, severity) => {
      const alerts = new Alerts(defaultThresholds);
      const at = (n: number, values: Partial<Snapshot>) =>
        alerts.check({ ...quiet, ...values, time: start + n * minute });
      expect(at(0, {})).toEqual([]);
      expect(at(1, bad)).toMatchObject([{ type, severity, start: start + minute, end: null }]);
      expect(at(2, better)).toEqual([]);
      expect(alerts.active).toHaveLength(1);
      expect(at(3, good)).toMatchObject([{ type, end: start + 3 * minute }]);
      expect(alerts.active).toEqual([]);
      expect(at(4, better)).toEqual([]);
    },
  );

  it("a large model and a long answer are no reason for one, but are under the reference's thresholds", () => {
    const busy = { ...quiet, memory_mb: 1695, latency_ms: 14_621 };
    expect(new Alerts(defaultThresholds).check(busy)).toEqual([]);
    expect(new Alerts(referenceThresholds).check(busy)).toMatchObject([
      { type: "memory", message: "memory is 1695 MiB, above 1024 MiB" },
      { type: "latency", message: "requests take 14621 ms, above 5000 ms" },
    ]);
    // What is planned is not known while nothing is loaded.
    expect(new Alerts(defaultThresholds).check({ ...busy, memory_planned_mb: null })).toEqual([]);
  });

  it("a server that keeps all processors busy is as it should be; one that does so for nobody, or answers late, is not", () => {
    const alerts = new Alerts(defaultThresholds);
    const at = (n: number, values: Partial<Snapshot>) =>
      alerts
        .check({ ...quiet, ...values, time: start + n * minute })
        .map(({ type, end }) => `${type} ${end === null ? "begins" : "ends"}`);
    // A day at full load, requests waiting all the time.
    const loaded = { cpu_percent: 100, queued: 3, active: 4, first_token_ms: 900 };
    for (let n = 0; n < 1440; n++) expect(at(n, loaded)).toEqual([]);
    expect(at(1440, { ...loaded, first_token_ms: 6000 })).toEqual(["first_token begins"]);
    expect(at(1441, loaded)).toEqual(["first_token ends"]);
    const idle = { requests: 0, active: 0, tokens_per_second: 0, first_token_ms: null, latency_ms: null };
    // The stretch in which the last answer ended.
    expect(at(1442, { ...idle, cpu_percent: 100 })).toEqual([]);
    expect(at(1443, { ...idle, cpu_percent: 51 })).toEqual(["idle_cpu begins"]);
    expect(at(1444, { ...idle, cpu_percent: 46 })).toEqual([]);
    expect(at(1445, { ...idle, cpu_percent: 44 })).toEqual(["idle_cpu ends"]);
    for (const busy of [{ batch_lines: 1 }, { queued: 1 }, { requests: 1 }, { tokens_per_second: 1 }])
      expect(at(1446, { ...idle, cpu_percent: 100, ...busy })).toEqual([]);
    // The reference's threshold is a plain one, and so is one that is asked for.
    for (const thresholds of [referenceThresholds, { ...defaultThresholds, cpu: 80 }])
      expect(new Alerts(thresholds).check({ ...quiet, cpu_percent: 81 })).toMatchObject([{ type: "cpu" }]);
    expect(new Alerts(referenceThresholds).check({ ...quiet, ...idle, cpu_percent: 79 })).toEqual([]);
    // What a start takes is nobody's fault.
    expect(new Alerts(defaultThresholds).check({ ...quiet, ...idle, cpu_percent: 100 })).toEqual([]);
  });

  it("keeps an ended alert for six hours, one that holds for ever", () => {
    const alerts = new Alerts(referenceThresholds);
    alerts.check({ ...quiet, memory_mb: 2000, latency_ms: 9000 });
    alerts.check({ ...quiet, memory_mb: 3000, time: start + minute });
    alerts.check({ ...quiet, memory_mb: 2500, time: start + minute + keptMs - 1 });
    expect(alerts.list.map(({ type, peak }) => [type, peak])).toEqual([
      ["memory", 3000],
      ["latency", 9000],
    ]);
    alerts.check({ ...quiet, memory_mb: 2500, time: start + minute + keptMs });
    expect(alerts.list.map(({ type }) => type)).toEqual(["memory"]);
  });

  it("raises none where nothing was measured, or a threshold is off", () => {
    const alerts = new Alerts({ ...defaultThresholds, memory: null });
    const idle = {
      ...quiet,
      memory_mb: 9e9,
      error_rate: null,
      latency_ms: null,
      first_token_ms: null,
      tokens_per_second: 0,
      active: 0,
    };
    expect(alerts.check(idle)).toEqual([]);
    expect(alerts.check({ ...idle, active: 1 })).toEqual([]);
    expect(alerts.check({ ...idle, active: 1 })).toMatchObject([{ type: "throughput" }]);
    expect(alerts.check(idle)).toMatchObject([{ type: "throughput", end: start }]);
  });
});

describe("history", () => {
  it("holds a day and forgets what is older", async () => {
    const history = await History.open(null, minute, start);
    for (let i = 0; i < 2000; i++)
      await history.add({ ...quiet, time: start + i * minute, watts: i % 2 ? null : 3 });
    const kept = history.since(0);
    expect(kept).toHaveLength(historyMs / minute);
    expect(kept.at(-1)).toEqual({ ...quiet, time: start + 1999 * minute });
    expect(kept.at(-2)?.watts).toBe(3);
    expect(history.since(start + 1990 * minute)).toHaveLength(10);
  });

  it("survives a restart, a torn line and rubbish, and never fills the disk", async () => {
    const path = join(folder, "snapshots.jsonl");
    const interval = historyMs / 10;
    let history = await History.open(path, interval, start);
    for (let i = 0; i < 35; i++) await history.add({ ...quiet, time: start + i * interval });
    for (const file of [path, `${path}.1`])
      expect((await readFile(file, "utf8")).split("\n").length).toBeLessThanOrEqual(11);
    const { memory_planned_mb: _, first_token_ms: __, queued_tokens: ___, ...old } = quiet;
    const before = JSON.stringify({ ...old, time: start + 34.5 * interval });
    await appendFile(path, `${before}\nrubbish\n{"time":5}\n{"time":17`);
    const now = start + 35 * interval;
    history = await History.open(path, interval, now);
    expect(history.since(0)).toHaveLength(10);
    expect(history.since(start + 34.4 * interval)).toMatchObject([{ first_token_ms: null, latency_ms: 200 }]);
    await history.add({ ...quiet, time: now });
    history = await History.open(path, interval, now);
    expect(history.since(0).at(-1)?.time).toBe(now);
  });

  it("goes on when somebody has taken its file away", async () => {
    const path = join(folder, "snapshots.jsonl");
    const history = await History.open(path, historyMs / 2, start);
    for (let i = 0; i < 4; i++) {
      await history.add({ ...quiet, time: start + i });
      await rm(path);
    }
    await history.add({ ...quiet, time: start + 4 });
    expect((await readFile(path, "utf8")).trim().split("\n")).toHaveLength(1);
  });
});

function fakeParts(changes: Partial<MonitorParts> = {}) {
  const state = {
    time: start,
    requests: 0,
    failed: 0,
    tokens: 0,
    memoryBytes: 100 * 2 ** 20,
    cpuMicros: 0,
    joules: 0,
  };
  const log: string[] = [];
  const parts: MonitorParts = {
    read: (): Reading => ({
      time: state.time,
      totals: {
        requests: state.requests,
        failed: state.failed,
        latencyMs: 300 * state.requests,
        answers: state.requests,
        firstTokenMs: 100 * state.requests,
        firstTokens: state.requests,
        promptTokens: 10 * state.requests,
        cachedTokens: 4 * state.requests,
        generatedTokens: state.tokens,
      },
      cpuMicros: state.cpuMicros,
      joules: state.joules,
      memoryBytes: state.memoryBytes,
      plannedBytes: 1024 * 2 ** 20,
      active: 1,
      queued: 2,
      queuedTokens: 30,
      batchLines: 0,
      kvUsage: 0.5,
    }),
    nCores: 2,
    intervalMs: minute,
    thresholds: defaultThresholds,
    folder: null,
    webhook: null,
    log: (line) => log.push(line),
    ...changes,
  };
  const pass = (monitor: Monitor, changes: Partial<typeof state> = {}) => {
    Object.assign(state, { time: state.time + minute }, changes);
    return monitor.tick();
  };
  return { parts, state, log, pass };
}

describe("monitor", () => {
  it("makes rates of counters and a summary of hours", async () => {
    const { parts, pass } = fakeParts();
    const monitor = await Monitor.open(parts);
    await pass(monitor, { requests: 30, tokens: 6000, cpuMicros: 30e6, joules: 600 });
    await pass(monitor, { requests: 30, tokens: 6000, cpuMicros: 30e6, joules: 1200 });
    expect(monitor.history(1)).toMatchObject([
      {
        tokens_per_second: 100,
        requests: 30,
        latency_ms: 300,
        first_token_ms: 100,
        memory_planned_mb: 1024,
        queued_tokens: 30,
        cache_hit_rate: 0.4,
        cpu_percent: 25,
        watts: 10,
      },
      { tokens_per_second: 0, requests: 0, latency_ms: null, cache_hit_rate: null, cpu_percent: 0 },
    ]);
    expect(monitor.summary(1)).toMatchObject({
      requests: 30,
      success_rate: 1,
      tokens: 6000,
      joules: 1200,
      average: { tokens_per_second: 50, latency_ms: 300, cpu_percent: 12.5, memory_mb: 100 },
      peak: { tokens_per_second: 100, queued: 2 },
    });
    for (let i = 0; i < 90; i++) await pass(monitor);
    expect(monitor.summary(1)).toMatchObject({ requests: 0, success_rate: null, snapshots: 61 });
    expect(monitor.summary(2)).toMatchObject({ requests: 30, from: new Date(start + minute).toISOString() });
  });

  it("keeps alerts and history over a restart", async () => {
    const { parts, pass, log } = fakeParts({ folder: join(folder, "monitor") });
    const monitor = await Monitor.open(parts);
    await pass(monitor, { memoryBytes: 2000 * 2 ** 20, tokens: 1000 });
    expect(log).toEqual([expect.stringMatching(/^monitor: warning: memory: /)]);
    const again = await Monitor.open(parts);
    expect(again.activeAlerts).toMatchObject([{ type: "memory", start: start + minute }]);
    expect(again.history(24)).toEqual(monitor.history(24));
    await pass(again, { memoryBytes: 100, tokens: 2000 });
    expect((await Monitor.open(parts)).alerts).toMatchObject([{ type: "memory", end: start + 2 * minute }]);
  });

  it("says once that the disk cannot be written, and goes on", async () => {
    await writeFile(join(folder, "file"), "");
    const { parts, pass, log } = fakeParts({ folder });
    const monitor = await Monitor.open(parts);
    await rm(folder, { recursive: true });
    for (let i = 1; i < 4; i++) await pass(monitor, { tokens: i * 1000 });
    expect(log).toEqual([expect.stringMatching(/history cannot be kept/)]);
    expect(monitor.history(1)).toHaveLength(3);
  });

  it("tells a webhook of beginnings and ends, in order", async () => {
    const told: { event: string; alert: { type: string } }[] = [];
    const receiver = createServer((request, response) => {
      let text = "";
      request.on("data", (chunk) => {
        text += String(chunk);
      });
      request.on("end", () => {
        told.push(JSON.parse(text));
        response.end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
    const webhook = new Webhook(
      `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`,
      () => {},
    );
    const { parts, pass } = fakeParts({ webhook });
    const monitor = await Monitor.open(parts);
    await pass(monitor, { requests: 10, failed: 5, tokens: 5000 });
    await pass(monitor, { requests: 20, failed: 5, tokens: 10_000 });
    await webhook.idle();
    expect(told.map(({ event, alert }) => [event, alert.type])).toEqual([
      ["alert.started", "errors"],
      ["alert.ended", "errors"],
    ]);
    receiver.close();
  });
});
