/** Opens files and batches with the data folder of a server. */
import type { FastifyInstance } from "fastify";
import type { Serving } from "../serving.ts";
import type { DataFolder } from "../store/data-folder.ts";
import { createLocalLeases, type Leases } from "../store/leases.ts";
import { BatchRunner } from "./batch-runner.ts";
import { BatchStore } from "./batch-store.ts";
import type { Batching } from "./batching.ts";
import { FileStore } from "./file-store.ts";
import { createRunLine } from "./run-line.ts";

const tickMs = 1000;

/** @param leases Shared by all servers on the folder; null: this is the only one. */
export async function openBatching(
  app: FastifyInstance,
  serving: Serving,
  { folder, leases = null }: { folder: DataFolder; leases?: Leases | null },
): Promise<Batching> {
  const { settings } = serving;
  const now = () => Date.now();
  const files = await FileStore.open(folder.path, now);
  const batches = await BatchStore.open(folder.path, now);
  const runner = new BatchRunner({
    batches,
    files,
    leases: leases ?? createLocalLeases(),
    runLine: createRunLine(app, serving.inner),
    settings: settings.batches,
    limits: {
      maxLineBytes: settings.maxBodyBytes,
      defaultOutputTokens: settings.defaultOutputTokens,
      maxOutputTokens: settings.maxOutputTokens,
    },
    now,
    log: settings.log,
  });
  const timer = setInterval(() => {
    if (serving.state === "ready") void runner.tick();
  }, tickMs);
  timer.unref();
  let closing: Promise<void> | null = null;
  return {
    files,
    batches,
    runner,
    close() {
      clearInterval(timer);
      closing ??= runner.stop().then(() => folder.close());
      return closing;
    },
  };
}
