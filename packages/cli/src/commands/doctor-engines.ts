/** `bitnet doctor --engines`: every way to run a model on this machine, tried and measured. Exit status 1 when none answers correctly. */
import { BitNetError } from "@bitnet.ts/core";
import { examineStrategies, type StrategiesReport, type StrategyReport } from "bitnet.ts/strategies";
import { type Command, Option } from "commander";
import { formatBytes, formatMs, formatRate, formatTable, printable } from "../format.ts";
import { modelSource } from "../load-model.ts";
import { modelOption } from "../options.ts";
import { localSource } from "../pull-model.ts";
import type { Session } from "../session.ts";
import { parseInteger } from "../values.ts";

export interface EngineFlags {
  json?: boolean;
  /** True: all. */
  engines?: boolean | string;
  profile?: string;
  model?: string;
  engineThreads?: number;
  bitnetCpp?: string;
  transformers?: string;
  onnx?: string;
  endpoint?: string;
  endpointModel?: string;
  project?: string;
  engineTimeout: number;
}

/** Flags that say something about engines only. */
const engineOnly: readonly (keyof EngineFlags)[] = [
  ...(["model", "engineThreads", "bitnetCpp", "transformers", "onnx"] as const),
  ...(["endpoint", "endpointModel", "project", "engineTimeout"] as const),
];

export function addEngineOptions(command: Command): void {
  command
    .addOption(
      new Option(
        "--engines [names]",
        "try and measure the ways to run a model here; names separated by commas",
      ),
    )
    .addOption(modelOption())
    .addOption(
      new Option(
        "--engine-threads <n>",
        "compute threads of the engines (default: as each chooses)",
      ).argParser(parseInteger(1, 1024)),
    )
    .addOption(new Option("--bitnet-cpp <place>", "bitnet.cpp: path of its llama-cli, or URL of its server"))
    .addOption(new Option("--transformers <model>", "model for Transformers.js of this project"))
    .addOption(new Option("--onnx <file>", "the model as ONNX, for onnxruntime-node of this project"))
    .addOption(
      new Option(
        "--endpoint <url>",
        "OpenAI-like API, such as http://127.0.0.1:8080/v1 (key: OPENAI_API_KEY)",
      ),
    )
    .addOption(new Option("--endpoint-model <name>", "name of the model there"))
    .addOption(new Option("--project <folder>", "where libraries are looked for (default: this folder)"))
    .addOption(
      new Option("--engine-timeout <s>", "longest time of one generation in seconds")
        .argParser(parseInteger(1, 86_400))
        .default(60),
    );
}

/** @throws BitNetError INVALID_ARGUMENT for flags that nothing would read. */
export function checkEngineFlags(flags: EngineFlags, command: Command): void {
  if (flags.engines) return;
  const stray = engineOnly.find(
    (name) =>
      !(name === "model" && flags.profile !== undefined) && command.getOptionValueSource(name) === "cli",
  );
  if (stray === undefined) return;
  const flag = command.options.find((each) => each.attributeName() === stray)?.long ?? stray;
  if (stray === "model")
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${flag} is about engines or a profile; add --engines or --profile`,
    );
  throw new BitNetError("INVALID_ARGUMENT", `${flag} is about engines; add --engines`);
}

export async function examineEngines(flags: EngineFlags, session: Session): Promise<void> {
  const key = process.env.OPENAI_API_KEY;
  const { bitnetCpp, transformers, onnx, endpoint, endpointModel, project, engineThreads } = flags;
  const given = { bitnetCpp, transformers, onnx, endpoint, endpointModel, project, threads: engineThreads };
  const report = await examineStrategies(
    {
      ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
      ...(key === undefined || key === "" ? {} : { endpointKey: key }),
      ...(typeof flags.engines === "string"
        ? { only: flags.engines.split(",").map((name) => name.trim()) }
        : {}),
      model: await localSource(modelSource(flags), session),
      timeoutMs: flags.engineTimeout * 1000,
      signal: session.signal,
    },
    ({ name, verdict }) => session.aside(`${name}: ${verdict}`),
  );
  await session.write(`${flags.json ? JSON.stringify(report, null, 2) : describeEngines(report)}\n`);
  if (report.chosen === null) session.fail();
}

function describeEngines({ strategies, chosen, comparedWith, recommendations }: StrategiesReport): string {
  const tried = strategies.filter(({ verdict }) => verdict !== "unavailable");
  return [
    formatTable([
      ["engine", "verdict", "load", "first token", "one text", "four at once", "memory", "detail"],
      ...tried.map(row),
    ]),
    "",
    ...strategies
      .filter(({ verdict }) => verdict === "unavailable")
      .map(({ name, detail }) => `not here: ${name} (${printable(detail)})`),
    "",
    `Texts were compared with those of: ${comparedWith ?? "nothing"}`,
    `Chosen: ${chosen ?? "none answers correctly"}`,
    "",
    formatTable(
      recommendations.map(({ useCase, strategy, reason }) => [
        useCase,
        strategy ?? "none",
        printable(reason),
      ]),
    ),
  ].join("\n");
}

function row(report: StrategyReport): string[] {
  const { name, verdict, loadMs, firstTokenMs, tokensPerSecond, parallelTokensPerSecond, memoryBytes } =
    report;
  const shown = <T>(value: T | null, format: (value: T) => string) => (value === null ? "-" : format(value));
  return [
    ...[name, verdict, shown(loadMs, formatMs), shown(firstTokenMs, formatMs)],
    ...[shown(tokensPerSecond, formatRate), shown(parallelTokensPerSecond, formatRate)],
    ...[shown(memoryBytes, formatBytes), printable(report.detail).slice(0, 100)],
  ];
}
