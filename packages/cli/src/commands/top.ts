/** `bitnet top`: what a server does, in the terminal, as it does it. */
import { BitNetError, pause } from "@bitnet.ts/core";
import { defaultSettings } from "@bitnet.ts/server";
import type { Command } from "commander";
import { formatCount, formatTable, printable } from "../format.ts";
import { jsonOption, option } from "../options.ts";
import type { Session } from "../session.ts";
import { movesCursor } from "../terminal.ts";
import { parseNumberFrom } from "../values.ts";

interface TopFlags {
  url: string;
  key?: string;
  interval: number;
  once?: boolean;
  json?: boolean;
}

/** What /monitor/live says. */
interface Live {
  version: string;
  state: string;
  uptime_s: number;
  models: { name: string }[];
  time: number;
  cpuMicros: number;
  nCores: number;
  joules: number | null;
  memoryBytes: number;
  active: number;
  queued: number;
  batchLines: number;
  kvUsage: number;
  requests: number;
  failed: number;
  latencyMs: number;
  firstTokenMs: number;
  firstTokens: number;
  queuedTokens: number;
  promptTokens: number;
  cachedTokens: number;
  generatedTokens: number;
  alerts: { severity: string; message: string }[];
}

const timeoutMs = 5000;

export function registerTop(program: Command, session: Session): void {
  program
    .command("top")
    .description("watch a server: requests, tokens a second, memory, alerts; ends with ctrl-c")
    .addOption(
      option("--url <url>", "where the server is").default(
        `http://${defaultSettings.host}:${defaultSettings.port}`,
      ),
    )
    .addOption(option("--key <key>", "API key"))
    .addOption(
      option("--interval <s>", "seconds between two looks").argParser(parseNumberFrom(0.2)).default(2),
    )
    .addOption(option("--once", "look once and end"))
    .addOption(jsonOption("what the server says"))
    .action((flags: TopFlags) => top(flags, session));
}

async function top(flags: TopFlags, session: Session): Promise<void> {
  let before: Live | null = null;
  const isScreen = movesCursor(process.stdout) && flags.once !== true && flags.json !== true;
  for (;;) {
    const now = await look(flags, session.signal);
    if (flags.json) await session.write(`${JSON.stringify(now)}\n`);
    else if (isScreen) process.stdout.write(`\u001b[H\u001b[2J${describe(now, before)}\n`);
    else await session.write(`${describe(now, before)}\n`);
    before = now;
    if (flags.once || session.signal.aborted) return;
    await pause(flags.interval * 1000, session.signal);
    if (session.signal.aborted) return;
  }
}

async function look({ url, key }: TopFlags, signal: AbortSignal): Promise<Live> {
  const fail = (message: string, cause?: unknown): never => {
    throw new BitNetError("IO_FAILED", `${url}: ${message}`, { cause });
  };
  if (!URL.canParse(url)) fail("this is no URL");
  const response = await fetch(new URL("/monitor/live", url), {
    headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  }).catch((error) => fail("no server answers there; start one with bitnet serve", error));
  if (response.status === 401) fail("the server wants an API key: give it with --key or BITNET_KEY");
  if (!response.ok) fail(`the server answered ${response.status}`);
  const live = (await response.json().catch(() => null)) as Partial<Live> | null;
  if (live === null || typeof live.generatedTokens !== "number" || !Array.isArray(live.models))
    fail("this is no server of bitnet.ts, or one of another version");
  return live as Live;
}

/** The screen: names and values, alerts below. */
function describe(now: Live, before: Live | null): string {
  const rows: [string, string][] = [
    ["state", `${now.state}, up ${Math.round(now.uptime_s)} s, version ${now.version}`],
    ["models", now.models.map(({ name }) => name).join(", ")],
    [
      "requests",
      `${formatCount(now.active)} running, ${formatCount(now.queued)} waiting (${formatCount(now.queuedTokens)} tokens), ${formatCount(now.batchLines)} of batches`,
    ],
    ["done", `${formatCount(now.requests)}, ${formatCount(now.failed)} failed`],
    [
      "tokens",
      `${formatCount(now.generatedTokens)} generated, ${formatCount(now.promptTokens)} of prompts, ${share(now.cachedTokens, now.promptTokens)} from the cache`,
    ],
    [
      "memory",
      `${(now.memoryBytes / 2 ** 20).toFixed(0)} MiB, key/value cache ${share(now.kvUsage, 1)} in use`,
    ],
    ...rates(now, before),
  ];
  const shown = rows.map(([name, value]) => [name, printable(value)]);
  const alerts = now.alerts.map(({ severity, message }) => printable(`${severity}: ${message}`));
  return [formatTable(shown), ...alerts].join("\n");
}

/** Two looks make rates; one is not enough. */
function rates(now: Live, before: Live | null): [string, string][] {
  if (before === null || before.generatedTokens > now.generatedTokens) return [];
  const seconds = Math.max(1e-3, (now.time - before.time) / 1000);
  const requests = now.requests - before.requests;
  const firsts = now.firstTokens - before.firstTokens;
  const cpu = (now.cpuMicros - before.cpuMicros) / (seconds * now.nCores * 1e4);
  const rows: [string, string][] = [
    ["speed", `${((now.generatedTokens - before.generatedTokens) / seconds).toFixed(1)} tok/s`],
    [
      "latency",
      requests > 0 ? `${Math.round((now.latencyMs - before.latencyMs) / requests)} ms a request` : "–",
    ],
    ["first token", firsts > 0 ? `${Math.round((now.firstTokenMs - before.firstTokenMs) / firsts)} ms` : "–"],
    ["processors", `${cpu.toFixed(0)} % of ${now.nCores}`],
  ];
  if (now.joules !== null && before.joules !== null)
    rows.push(["power", `${((now.joules - before.joules) / seconds).toFixed(1)} W`]);
  return rows;
}

function share(part: number, whole: number): string {
  return whole === 0 ? "–" : `${Math.round((100 * part) / whole)} %`;
}
