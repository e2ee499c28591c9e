/** The flags of `bitnet serve` for those who run it: what it keeps, how it works on batches, what it tells those who watch it. */
import { BitNetError, suggestion } from "@bitnet.ts/core";
import {
  defaultSettings,
  referenceThresholds,
  type ServerOptions,
  type Thresholds,
  traceSettingsOf,
} from "@bitnet.ts/server";
import type { Command } from "commander";
import { option } from "./options.ts";
import { addRedisOptions, type RedisFlags, redisUrl } from "./redis-place.ts";
import type { Session } from "./session.ts";
import { collect, parseInteger, parseNumberFrom } from "./values.ts";

export interface OperationFlags extends RedisFlags {
  data?: string;
  maxFile: number;
  maxStored: number;
  batchParallel: number;
  batchTokens?: number;
  batchLease: number;
  monitorInterval: number;
  alert?: readonly string[];
  alertWebhook?: string;
  logFormat: "text" | "json";
}

export function addOperationOptions(command: Command): void {
  const { batches, monitor } = defaultSettings;
  command.addOption(
    option(
      "--data <folder>",
      "keep files, batches and the monitor's history here (default: nothing is kept)",
    ),
  );
  addRedisOptions(
    command,
    "share limits, kept answers and batches with other servers through Redis or Valkey",
  );
  command
    .addOption(
      option("--max-file <bytes>", "largest file that may be uploaded")
        .argParser(parseInteger(1))
        .default(batches.maxFileBytes),
    )
    .addOption(
      option("--max-stored <bytes>", "room for all files together")
        .argParser(parseInteger(1))
        .default(batches.maxStoredBytes),
    )
    .addOption(
      option("--batch-parallel <n>", "lines of batches that run at once, in places that nobody waits for")
        .argParser(parseInteger(1, 512))
        .default(batches.parallel),
    )
    .addOption(
      option(
        "--batch-tokens <n>",
        "tokens that one client's unfinished batches may take (default: any number)",
      ).argParser(parseInteger(1)),
    )
    .addOption(
      option("--batch-lease <s>", "take a batch over whose server has been silent for so long")
        .argParser(parseNumberFrom(0.5))
        .default(batches.leaseMs / 1000),
    )
    .addOption(
      option("--monitor-interval <s>", "seconds between two snapshots of the monitor")
        .argParser(parseInteger(1, 3600))
        .default(monitor.intervalMs / 1000),
    )
    .addOption(
      option(
        "--alert <name=value>",
        `threshold of an alert, or "off"; "reference": those of a small service; repeatable (default: ${thresholdNames.map((name) => `${name}=${monitor.thresholds[name] ?? "off"}`).join(", ")})`,
      ).argParser(collect),
    )
    .addOption(option("--alert-webhook <url>", "POST alerts there when they begin and end"))
    .addOption(
      option("--log-format <format>", "json: a line of JSON for every request on standard error")
        .choices(["text", "json"])
        .default("text"),
    )
    .addHelpText(
      "after",
      "\nTraces go to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names (OpenTelemetry, HTTP with JSON).",
    );
}

const thresholdNames = Object.keys(
  defaultSettings.monitor.thresholds,
) as (keyof typeof defaultSettings.monitor.thresholds)[];

function thresholdsOf(flags: readonly string[] | undefined) {
  const thresholds: { -readonly [Name in keyof Thresholds]: Thresholds[Name] } = {
    ...defaultSettings.monitor.thresholds,
  };
  for (const text of (flags ?? []).flatMap((each) => each.split(","))) {
    if (text.trim() === "reference") {
      Object.assign(thresholds, referenceThresholds);
      continue;
    }
    const [given = "", value = ""] = text.split("=");
    const name = thresholdNames.find((each) => each === given.trim());
    if (name === undefined)
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `--alert ${JSON.stringify(text)}: no such alert${suggestion(given, thresholdNames)}; there are ${thresholdNames.join(", ")}`,
      );
    const number = /^\d+(\.\d+)?$/.test(value.trim()) ? Number(value) : null;
    if (name === "memory" && value.trim() === "planned") thresholds.memory = "planned";
    else if (number !== null || value.trim() === "off") thresholds[name] = number;
    else
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `--alert ${JSON.stringify(text)}: expected ${name}=<number> or ${name}=off`,
      );
  }
  return thresholds;
}

function webhookOf(url: string | undefined): string | null {
  if (url === undefined) return null;
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    "--alert-webhook: expected a URL that begins with http:// or https://",
  );
}

export function operationSettings(flags: OperationFlags, session: Session): Partial<ServerOptions> {
  return {
    dataFolder: flags.data ?? null,
    redis: redisUrl(flags, session.note),
    traces: traceSettingsOf(process.env),
    monitor: {
      intervalMs: flags.monitorInterval * 1000,
      thresholds: thresholdsOf(flags.alert),
      webhook: webhookOf(flags.alertWebhook),
    },
    ...(flags.logFormat === "json" ? { logStream: process.stderr } : {}),
    batches: {
      ...defaultSettings.batches,
      maxFileBytes: flags.maxFile,
      maxStoredBytes: flags.maxStored,
      parallel: flags.batchParallel,
      maxQueuedTokens: flags.batchTokens ?? null,
      leaseMs: 1000 * flags.batchLease,
    },
  };
}
