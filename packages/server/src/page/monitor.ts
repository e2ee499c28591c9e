/**
 * The monitor page: what the server does now, from counters asked for every two seconds, and what it has done, from its history. All text
 * is set as text.
 */
import { Chart, type ChartOptions, type Point } from "./chart.ts";
import { type Live, liveSnapshot, type Snapshot } from "./monitor-data.ts";
import { startTheme } from "./theme.ts";

interface Alert {
  type: string;
  severity: string;
  message: string;
  start: string;
  end: string | null;
  active: boolean;
}

const liveMs = 2000;
const liveWindowMs = 300_000;
const hourMs = 3_600_000;
const shortestMs = 30_000;

const number = (digits: number, unit: string) => (value: number) => `${value.toFixed(digits)}${unit}`;
const milliseconds = (value: number) =>
  value < 10_000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(1)} s`;
const percent = (value: number) => `${(100 * value).toFixed(0)} %`;
const charts: readonly (ChartOptions & { field: keyof Snapshot })[] = [
  { field: "tokens_per_second", title: "Tokens a second", format: number(1, ""), atLeast: 10 },
  { field: "first_token_ms", title: "Time to the first token", format: milliseconds, atLeast: 100 },
  { field: "latency_ms", title: "Time of a request", format: milliseconds, atLeast: 100 },
  { field: "active", title: "Running", format: number(0, ""), atLeast: 1 },
  { field: "queued", title: "Waiting", format: number(0, ""), atLeast: 1 },
  { field: "memory_mb", title: "Memory", format: number(0, " MiB"), atLeast: 10 },
  { field: "cpu_percent", title: "Processors", format: number(0, " %"), atLeast: 100 },
  { field: "kv_usage", title: "Key/value cache in use", format: percent, atLeast: 1 },
  { field: "cache_hit_rate", title: "Prompt tokens from the cache", format: percent, atLeast: 1 },
  { field: "error_rate", title: "Failed requests", format: percent, atLeast: 0.1 },
  { field: "watts", title: "Power", format: number(1, " W"), atLeast: 1 },
];

function find<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const drawn = charts.map((options) => ({ field: options.field, chart: new Chart(options) }));
const live: Snapshot[] = [];
let before: Live | null = null;
let hours = 0;

async function get<T>(path: string): Promise<T> {
  const key = find<HTMLInputElement>("key").value;
  const response = await fetch(path, { headers: key === "" ? {} : { authorization: `Bearer ${key}` } });
  if (response.ok) return (await response.json()) as T;
  if (response.status === 401) throw new Error("This server wants an API key.");
  throw new Error(`The server answered ${response.status}.`);
}

async function refresh(): Promise<void> {
  const state = find("state");
  try {
    const now = await get<Live>("/monitor/live");
    if (before === null) live.push(...(await loadHistory(liveWindowMs / hourMs)));
    if (before !== null) {
      live.push(liveSnapshot(before, now));
      while ((live[0]?.time ?? now.time) < now.time - liveWindowMs) live.shift();
    }
    before = now;
    showTiles(now);
    const snapshots = hours === 0 ? live : await loadHistory(hours);
    const windowMs = hours === 0 ? liveWindowMs : hours * hourMs;
    // A server that is young fills the width with what there is.
    const first = Math.min(snapshots[0]?.time ?? now.time, now.time - shortestMs);
    show(snapshots, Math.max(first, now.time - windowMs), now.time);
    showAlerts((await get<{ alerts: Alert[] }>("/monitor/alerts")).alerts);
    state.textContent = "";
  } catch (error) {
    state.textContent = error instanceof Error ? error.message : String(error);
  }
}

async function loadHistory(span: number): Promise<Snapshot[]> {
  return (await get<{ snapshots: Snapshot[] }>(`/monitor/history?hours=${span}`)).snapshots;
}

function show(snapshots: readonly Snapshot[], from: number, to: number): void {
  for (const { field, chart } of drawn) {
    const points: Point[] = snapshots.map((each) => ({ time: each.time, value: each[field] }));
    // What this machine cannot measure is not shown.
    chart.element.hidden = field === "watts" && points.every(({ value }) => value === null);
    chart.draw(points, from, to);
  }
}

function showTiles(now: Live): void {
  const latest = live.at(-1);
  const tiles: [string, string][] = [
    ["State", now.state],
    ["Model", now.models.map(({ name }) => name).join(", ")],
    ["Up", duration(now.uptime_s)],
    ["Tokens a second", latest === undefined ? "–" : latest.tokens_per_second.toFixed(1)],
    ["Running", String(now.active)],
    ["Waiting", String(now.queued)],
    ["Batch lines", String(now.batchLines)],
    ["Requests", now.requests.toLocaleString("en")],
    ["Failed", now.failed.toLocaleString("en")],
    ["Tokens", now.generatedTokens.toLocaleString("en")],
    ["From cache", now.promptTokens === 0 ? "–" : percent(now.cachedTokens / now.promptTokens)],
    ["Memory", `${(now.memoryBytes / 2 ** 20).toFixed(0)} MiB`],
  ];
  find("tiles").replaceChildren(
    ...tiles.map(([name, value]) => {
      const tile = document.createElement("div");
      tile.append(
        Object.assign(document.createElement("dt"), { textContent: name }),
        Object.assign(document.createElement("dd"), { textContent: value }),
      );
      return tile;
    }),
  );
}

function duration(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

function showAlerts(alerts: readonly Alert[]): void {
  const items = alerts.toReversed().map((alert) => {
    const item = document.createElement("li");
    item.className = `${alert.severity === "critical" ? "critical" : "warning"}${alert.active ? " active" : ""}`;
    const when = (text: string) => new Date(text).toLocaleTimeString();
    const times = `${alert.severity}, ${when(alert.start)} – ${alert.end === null ? "now" : when(alert.end)}`;
    item.append(`${alert.message} `, Object.assign(document.createElement("small"), { textContent: times }));
    return item;
  });
  const none = Object.assign(document.createElement("li"), { textContent: "None in the last six hours." });
  find("alerts").replaceChildren(...(items.length === 0 ? [none] : items));
}

function setUp(): void {
  find("charts").append(...drawn.map(({ chart }) => chart.element));
  startTheme(find("theme"));
  const buttons = document.querySelectorAll<HTMLButtonElement>("#range button");
  const choose = (chosen: number) => {
    hours = chosen;
    for (const each of buttons) each.ariaPressed = String(Number(each.dataset.hours) === chosen);
  };
  for (const each of buttons)
    each.onclick = () => {
      choose(Number(each.dataset.hours));
      void refresh();
    };
  choose(0);
  find("key").onchange = () => void refresh();
}

/** The next question follows the answer, so that a slow server is not asked twice at once. */
async function follow(): Promise<void> {
  if (!document.hidden) await refresh();
  setTimeout(() => void follow(), liveMs);
}

setUp();
void follow();
