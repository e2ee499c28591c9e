/**
 * `bitnet dummy`: writes a random checkpoint of one of the family's sizes, for measuring. Written under another name and renamed, so
 * that what bears the final name is whole.
 */
import { type FileHandle, open, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { BitNetError, throwIfAborted, writeGguf } from "@bitnet.ts/core";
import type { Command } from "commander";
import { type DummyArchitecture, dummyArchitectures, dummyGguf } from "../dummy-model.ts";
import {
  countWeights,
  type DummyPacking,
  type DummyShape,
  dummyPackings,
  dummyShapes,
  planTensors,
  tensorBytes,
} from "../dummy-shapes.ts";
import { formatApart, formatBytes, formatCount, formatMs } from "../format.ts";
import { jsonOption, option } from "../options.ts";
import type { Session } from "../session.ts";
import { startProgress } from "../terminal.ts";
import { parseInteger } from "../values.ts";

interface DummyFlags {
  shape: string;
  packing: DummyPacking;
  architecture?: DummyArchitecture;
  output: string;
  seed: number;
  layers?: number;
  json?: boolean;
}

/** More than metadata, vocabulary and padding ever take. */
const headerAllowance = 16 * 2 ** 20;

export function registerDummy(program: Command, session: Session): void {
  program
    .command("dummy")
    .description("write a random model of a given size, for measuring")
    .addOption(
      option("--shape <name>", "size")
        .choices(dummyShapes.map(({ name }) => name))
        .makeOptionMandatory(),
    )
    .addOption(option("--packing <name>", "ternary packing").choices(dummyPackings).default("i2_s"))
    .addOption(
      option(
        "--architecture <name>",
        "architecture that a file of BitNet's sizes names (default: bitnet-b1.58); llama.cpp opens bitnet only",
      ).choices(dummyArchitectures),
    )
    .addOption(
      option("-o, --output <path>", "GGUF file to write; replaced when it exists").makeOptionMandatory(),
    )
    .addOption(
      option("--seed <n>", "seed of the weights")
        .argParser(parseInteger(0, 2 ** 32 - 1))
        .default(1),
    )
    .addOption(option("--layers <n>", "layers (default: those of the size)").argParser(parseInteger(1, 4096)))
    .addOption(jsonOption("what was written"))
    .action((flags: DummyFlags) => dummy(flags, session));
}

async function dummy(flags: DummyFlags, session: Session): Promise<void> {
  const shape = chooseShape(flags);
  const { packing, output } = flags;
  const tensors = planTensors(shape);
  const nBytes = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor, packing), 0);
  await refuseFolder(output);
  await checkDisk(output, nBytes + headerAllowance);
  const start = performance.now();
  const written = await writeWhole(
    output,
    writeGguf(dummyGguf(shape, packing, flags.seed, flags.architecture)),
    {
      expected: nBytes,
      signal: session.signal,
    },
  );
  const ms = performance.now() - start;
  const parameters = countWeights(tensors);
  const text = flags.json
    ? JSON.stringify({
        path: output,
        shape: shape.name,
        packing,
        parameters,
        bytes: written,
        seconds: ms / 1000,
      })
    : `${output}: ${formatCount(parameters)} parameters, ${formatBytes(written)}, written in ${formatMs(ms)}`;
  await session.write(`${text}\n`);
}

function chooseShape({ shape: wanted, layers, architecture }: DummyFlags): DummyShape {
  const found = dummyShapes.find(({ name }) => name === wanted);
  if (found === undefined) throw new BitNetError("INTERNAL", `dummy: no shape "${wanted}"`);
  if (architecture !== undefined && found.family !== "bitnet")
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `--architecture: ${wanted} is of the architecture ${found.family}; leave the option out`,
    );
  return { ...found, nLayers: layers ?? found.nLayers };
}

async function refuseFolder(output: string): Promise<void> {
  if (!(await stat(output).catch(() => null))?.isDirectory()) return;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${output} is a folder; name a file in it, such as ${join(output, "model.gguf")}`,
  );
}

/** @throws BitNetError FILE_NOT_FOUND when the folder is missing, IO_FAILED when the disk has no room. */
async function checkDisk(output: string, needed: number): Promise<void> {
  const folder = dirname(resolve(output));
  let free: number;
  try {
    const { bavail, bsize } = await statfs(folder);
    free = bavail * bsize;
  } catch (cause) {
    throw new BitNetError("FILE_NOT_FOUND", `${output}: the folder ${folder} does not exist`, { cause });
  }
  if (free < needed) {
    const [neededText, freeText] = formatApart(needed, free);
    throw new BitNetError(
      "IO_FAILED",
      `${output}: needs ${neededText}, but only ${freeText} are free on that disk; nothing was written`,
      { details: { needed, free } },
    );
  }
}

/** @returns Bytes written. On failure or abort nothing is left behind. */
async function writeWhole(
  output: string,
  pieces: AsyncIterable<Uint8Array>,
  { expected, signal }: { expected: number; signal: AbortSignal },
): Promise<number> {
  const part = `${output}.${process.pid}.part`;
  const progress = startProgress("Writing");
  let file: FileHandle | undefined;
  try {
    file = await open(part, "wx");
    let written = 0;
    for await (const piece of pieces) {
      throwIfAborted(signal);
      for (let done = 0; done < piece.length; ) done += (await file.write(piece, done)).bytesWritten;
      written += piece.length;
      progress.update(written / expected);
    }
    await file.close();
    await rename(part, output);
    return written;
  } catch (cause) {
    await file?.close().catch(() => {});
    if (file !== undefined) await rm(part, { force: true });
    if (cause instanceof BitNetError) throw cause;
    throw new BitNetError("IO_FAILED", `${output}: cannot be written (${(cause as Error).message})`, {
      cause,
    });
  } finally {
    progress.end();
  }
}
