/** The flags of `bitnet serve` for those who run it: what it keeps and how it works on batches. */
import { defaultSettings, type ServerOptions } from "@bitnet.ts/server";
import type { Command } from "commander";
import { option } from "./options.ts";
import { parseInteger } from "./values.ts";

export interface OperationFlags {
  data?: string;
  maxFile: number;
  maxStored: number;
  batchParallel: number;
  batchTokens?: number;
}

export function addOperationOptions(command: Command): void {
  const { batches } = defaultSettings;
  command
    .addOption(
      option(
        "--data <folder>",
        "keep files, batches and the monitor's history here (default: nothing is kept)",
      ),
    )
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
    );
}

export function operationSettings(flags: OperationFlags): Partial<ServerOptions> {
  return {
    dataFolder: flags.data ?? null,
    batches: {
      ...defaultSettings.batches,
      maxFileBytes: flags.maxFile,
      maxStoredBytes: flags.maxStored,
      parallel: flags.batchParallel,
      maxQueuedTokens: flags.batchTokens ?? null,
    },
  };
}
