/** The settings of a server and their defaults. */
import type { BitNetLoadOptions } from "bitnet.ts";
import { type BatchSettings, defaultBatchSettings } from "./batches/settings.ts";
import { type CacheSettings, defaultCacheSettings } from "./cache-settings.ts";
import type { KeyLimits } from "./key-store.ts";
import { defaultMonitorSettings, type MonitorSettings } from "./monitor/settings.ts";
import type { TraceSettings } from "./monitor/trace-exporter.ts";
import { defaultPullSettings, type PullSettings } from "./pulling/settings.ts";
import { defaultSecuritySettings, type SecuritySettings } from "./security/settings.ts";

export interface ServedModel {
  /** Name under which clients ask for it. */
  name: string;
  /** Path or URL. */
  source: string;
  options: BitNetLoadOptions;
}

export interface ServerSettings {
  host: string;
  port: number;
  /** At least one; the first serves where no model is named. */
  models: readonly ServedModel[];
  /** Further names of the first model; "*" stands for every name. */
  aliases: readonly string[];
  /** Requests that run at once, and requests that may wait for one of them to end. */
  parallel: number;
  maxQueued: number;
  /** Bytes of bodies that may wait. */
  maxQueuedBytes: number;
  /** How long a request may wait for its turn. */
  queueTimeoutMs: number;
  /** How long a request may take from its turn to its end. */
  timeoutMs: number;
  maxBodyBytes: number;
  /** Characters of all texts of a prompt together. */
  maxPromptCharacters: number;
  /** Tokens of one answer, at most, whatever is asked for. */
  maxOutputTokens: number;
  /** Tokens of an answer when none are asked for. */
  defaultOutputTokens: number;
  /** Answers to one request, `n` times its prompts. */
  maxAnswers: number;
  /** A client who takes nothing of its answer for so long is cut off. */
  stallMs: number;
  /** Running requests get so long after SIGTERM. */
  drainMs: number;
  /** Host names, beside loopback names and addresses, under which the server may be asked for. */
  allowedHosts: readonly string[];
  /** Origins whose pages may ask (CORS); "*" for all. */
  corsOrigins: readonly string[];
  /** Of clients without a key, and of keys without limits of their own. */
  limits: KeyLimits;
  /** File of keys, or "redis:" for those in `redis`; null: no keys. */
  keysFile: string | null;
  /** Hops of proxies whose X-Forwarded-For is believed. */
  trustedHops: number;
  /** Folder of what outlives the server: files, batches, the monitor's history; null: nothing does. */
  dataFolder: string | null;
  /** Redis that several servers share; null: there is one server. */
  redis: string | null;
  batches: BatchSettings;
  monitor: MonitorSettings;
  /** Collector of OpenTelemetry that gets traces; null: nobody does. */
  traces: TraceSettings | null;
  /** Takes the log as lines of JSON, requests included; null: `log` gets what goes wrong, as text. */
  logStream: { write(line: string): unknown } | null;
  /** Bytes that all loaded models may take together; null: any number. */
  memoryLimitBytes: number | null;
  /** Answers that are kept for equal requests. */
  cache: CacheSettings;
  security: SecuritySettings;
  /** Models that clients may bring from a hub. */
  pull: PullSettings;
  /** Port of the routes for those who run the server, which are then nowhere else; null: they stand beside the others. */
  adminPort: number | null;
  adminHost: string;
  /** One line of the log. */
  log: (line: string) => void;
}

export const defaultSettings: Omit<ServerSettings, "models" | "log"> = {
  host: "127.0.0.1",
  port: 8080,
  aliases: [],
  parallel: 10,
  maxQueued: 64,
  maxQueuedBytes: 64 * 2 ** 20,
  queueTimeoutMs: 30_000,
  timeoutMs: 600_000,
  maxBodyBytes: 16 * 2 ** 20,
  maxPromptCharacters: 2 ** 20,
  maxOutputTokens: 4096,
  defaultOutputTokens: 512,
  maxAnswers: 128,
  stallMs: 30_000,
  drainMs: 30_000,
  allowedHosts: [],
  corsOrigins: [],
  limits: {},
  keysFile: null,
  trustedHops: 0,
  dataFolder: null,
  redis: null,
  batches: defaultBatchSettings,
  monitor: defaultMonitorSettings,
  traces: null,
  logStream: null,
  memoryLimitBytes: null,
  cache: defaultCacheSettings,
  security: defaultSecuritySettings,
  pull: defaultPullSettings,
  adminPort: null,
  adminHost: "127.0.0.1",
};
