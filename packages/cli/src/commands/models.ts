/** `bitnet models`: published models with short names, whether this machine has the memory for them, and how fast it would be. */
import { availableMemory, measureReadBandwidth } from "bitnet.ts";
import { type KnownModel, knownModels } from "bitnet.ts/hub";
import type { Command } from "commander";
import { formatBytes, formatRate, formatTable } from "../format.ts";
import { jsonOption } from "../options.ts";
import type { Session } from "../session.ts";

/** Context that has to fit beside the weights. */
const contextTokens = 4096;
/** What the process takes beside weights and cache. */
const overheadBytes = 300e6;

export function registerModels(program: Command, session: Session): void {
  program
    .command("models")
    .description("list published models, what fits this machine and how fast it would decode")
    .addOption(jsonOption("the list"))
    .action((flags: { json?: boolean }) => models(flags, session));
}

interface Verdict extends KnownModel {
  neededBytes: number;
  /** Null where the machine does not say how much memory it has. */
  fits: boolean | null;
  /** Bandwidth over bytes per token: what decoding cannot exceed; null without native code. */
  tokensPerSecond: number | null;
}

async function models({ json }: { json?: boolean }, session: Session): Promise<void> {
  const memoryBytes = availableMemory();
  const bytesPerSecond = await measureReadBandwidth();
  const list = knownModels.map((model): Verdict => {
    const neededBytes = model.memoryBytes + contextTokens * model.kvBytesPerToken + overheadBytes;
    return {
      ...model,
      neededBytes,
      fits: memoryBytes === null ? null : neededBytes <= memoryBytes,
      tokensPerSecond: bytesPerSecond === null ? null : bytesPerSecond / model.bytesPerToken,
    };
  });
  if (json)
    return session.write(`${JSON.stringify({ memoryBytes, bytesPerSecond, contextTokens, models: list })}\n`);
  const header = ["NAME", "PARAMETERS", "DOWNLOAD", "MEMORY", "FITS", "AT MOST", "LICENCE", "SOURCE"];
  await session.write(`${formatTable([header, ...list.map(row)])}\n`);
  const memory = memoryBytes === null ? "unknown memory" : `${formatBytes(memoryBytes)} of memory`;
  const speed = bytesPerSecond === null ? "bandwidth unknown" : `reads ${formatBytes(bytesPerSecond)}/s`;
  session.note(
    `This machine: ${memory}, ${speed}. Memory is for weights and ${contextTokens} tokens of context.`,
  );
}

function row(model: Verdict): string[] {
  const {
    alias,
    parameters,
    downloadBytes,
    neededBytes,
    fits,
    tokensPerSecond,
    license,

    source,
  } = model;
  const yesNo = (value: boolean | null) => (value === null ? "?" : value ? "yes" : "no");
  return [
    alias,
    `${(parameters / 1e9).toPrecision(2)} B`,
    formatBytes(downloadBytes),
    formatBytes(neededBytes),
    yesNo(fits),
    tokensPerSecond === null ? "?" : formatRate(tokensPerSecond),
    license,
    source,
  ];
}
