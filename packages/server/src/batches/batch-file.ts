/** A batch from file to file, without a server: the same lines, routes and journals. Begun again, it goes on where it was. */
import { createReadStream } from "node:fs";
import { realpath, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { createInterface } from "node:readline";
import { BitNetError } from "@bitnet.ts/core";
import { prepareServer, type ServerOptions, warmUp } from "../server.ts";
import { readBatchInput } from "./batch-input.ts";
import { type BatchEndpoint, batchEndpoints } from "./batch-record.ts";
import { LineQueue, type RunLine } from "./line-queue.ts";
import { createRunLine } from "./run-line.ts";

export interface BatchFiles {
  readonly input: string;
  readonly output: string;
  /** Where lines go that were refused; there is no such file when there are none. */
  readonly errors: string;
}

export interface BatchFileResult {
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number };
}

interface BatchFileOptions {
  readonly signal: AbortSignal;
  /** Called when a line has been answered, and once before the first. */
  readonly onProgress?: (counts: { total: number; completed: number; failed: number }) => void;
}

/** A line that cannot be answered for now is tried again after this time. */
const pauseMs = 500;

/**
 * @param options As for a server; where it would listen does not matter.
 * @throws BitNetError INVALID_ARGUMENT for a faulty input, with the places of its faults, or for an output that is something else;
 * ABORTED when the signal fires: what has been answered stays.
 */
export async function runBatchFile(
  options: ServerOptions,
  files: BatchFiles,
  { signal, onProgress = () => {} }: BatchFileOptions,
): Promise<BatchFileResult> {
  await checkPaths(files);
  const { app, serving } = await prepareServer({ ...options, keysFile: null, dataFolder: null });
  try {
    const { settings } = serving;
    const endpoint = await endpointOf(files.input);
    const input = await readBatchInput(files.input, {
      endpoint,
      maxLines: Number.MAX_SAFE_INTEGER,
      maxLineBytes: settings.maxBodyBytes,
      defaultOutputTokens: settings.defaultOutputTokens,
      maxOutputTokens: settings.maxOutputTokens,
    });
    const problems = input.problems.map(
      ({ line, message }) => `${line === null ? "" : `line ${line}: `}${message}`,
    );
    if (problems.length > 0)
      throw new BitNetError("INVALID_ARGUMENT", `${files.input}: ${problems.slice(0, 5).join(" ")}`);
    const queue = await LineQueue.open({
      id: "local",
      tenant: "",
      endpoint,
      lines: input.lines,
      inputPath: files.input,
      outputPath: files.output,
      errorPath: files.errors,
      fence: null,
      isNamed: true,
    });
    try {
      onProgress(queue.counts);
      if (queue.hasOpenLines) await warmUp(serving);
      await work(queue, createRunLine(app, serving.inner), settings.parallel, signal, () =>
        onProgress(queue.counts),
      );
    } finally {
      await queue.stop();
      await queue.close();
      if (queue.bytes.error === 0) await rm(files.errors, { force: true });
    }
    if (signal.aborted)
      throw new BitNetError("ABORTED", "batch: it was interrupted; begun again, it goes on");
    return { ...queue.counts, usage: queue.usage };
  } finally {
    await serving.watching.close();
    await app.close();
    await serving.models.dispose();
  }
}

async function work(
  queue: LineQueue,
  runLine: RunLine,
  parallel: number,
  signal: AbortSignal,
  onLine: () => void,
): Promise<void> {
  const stop = () => void queue.stop();
  signal.addEventListener("abort", stop, { once: true });
  const worker = async () => {
    while (queue.hasOpenLines && !signal.aborted) {
      if (!(await queue.runNext(runLine))) await new Promise((again) => setTimeout(again, pauseMs));
      onLine();
    }
  };
  try {
    await Promise.all(Array.from({ length: parallel }, worker));
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** The endpoint that the first line names; all others have to name the same. */
async function endpointOf(path: string): Promise<BatchEndpoint> {
  const lines = createInterface({ input: createReadStream(path, { end: 1 << 24 }) });
  try {
    for await (const line of lines) {
      if (line.trim() === "") continue;
      const { url } = JSON.parse(line) as { url?: unknown };
      return batchEndpoints.find((endpoint) => endpoint === url) ?? "/v1/chat/completions";
    }
  } catch {
    // The line is reported where all are read.
  } finally {
    lines.close();
  }
  return "/v1/chat/completions";
}

async function checkPaths({ input, output, errors }: BatchFiles): Promise<void> {
  const found = await stat(input).catch(() => null);
  if (found?.isFile() !== true) {
    const problem = found === null ? "there is no such file" : "is no file";
    throw new BitNetError("FILE_NOT_FOUND", `${input}: ${problem}`);
  }
  for (const path of [output, errors]) {
    const folder = dirname(resolve(path));
    if ((await stat(folder).catch(() => null))?.isDirectory() !== true)
      throw new BitNetError("FILE_NOT_FOUND", `${path}: the folder ${folder} does not exist`);
    if ((await stat(path).catch(() => null))?.isDirectory())
      throw new BitNetError("INVALID_ARGUMENT", `${path} is a folder; name a file in it`);
  }
  const real = (path: string) => realpath(path).catch(() => resolve(path));
  const places = new Set([await real(input), await real(output), await real(errors)]);
  if (places.size < 3)
    throw new BitNetError("INVALID_ARGUMENT", "batch: input, output and errors have to be three files");
}
