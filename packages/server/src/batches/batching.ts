/** Files and batches of a server: opened with its data folder, ended with it. */
import { ServeError } from "../errors.ts";
import type { BatchRunner } from "./batch-runner.ts";
import type { BatchStore } from "./batch-store.ts";
import type { FileStore } from "./file-store.ts";

export interface Batching {
  readonly files: FileStore;
  readonly batches: BatchStore;
  readonly runner: BatchRunner;
  close(): Promise<void>;
}

/** @throws ServeError NOT_SUPPORTED where the server keeps nothing. */
export function batchingOf(serving: { readonly batching: Batching | null }): Batching {
  if (serving.batching !== null) return serving.batching;
  throw new ServeError("NOT_SUPPORTED", "files and batches need a data folder: start the server with --data");
}
