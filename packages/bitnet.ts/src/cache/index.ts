/** `bitnet.ts/cache`: the models that this site keeps in the browser's own file system. Works on pages and in workers. */
import { BitNetError } from "@bitnet.ts/core/base";
import { openCacheFolder, recordedFiles, removeFile } from "./cache-folder.ts";

export { isLocalFile, type KeepLocalOptions, keepLocalFile, openLocalFile } from "./local-files.ts";

export interface KeptModel {
  /** What `BitNet.load` takes: an address, or `hf:owner/name…`. For a file of this device `file:…`, which `openLocalFile` takes. */
  model: string;
  /** Bytes that are there. */
  bytes: number;
  /** Bytes of all its files. */
  totalBytes: number;
  isComplete: boolean;
  files: readonly string[];
  /** Milliseconds since 1970. */
  usedAt: number;
}

export interface StorageRoom {
  usedBytes: number;
  /** What the browser grants this site: no promise. */
  quotaBytes: number;
  /** The browser does not clear this site's files by itself. */
  isPersistent: boolean;
}

/** Models that are kept, whole or in part, the last used first. */
export async function listKept(): Promise<KeptModel[]> {
  const folder = await openCacheFolder();
  if (folder === null) return [];
  const models = new Map<string, KeptModel>();
  for await (const { record } of recordedFiles(folder)) {
    const { model, file, written, size, isComplete, usedAt } = record;
    const known = models.get(model);
    models.set(model, {
      model,
      bytes: (known?.bytes ?? 0) + written,
      totalBytes: (known?.totalBytes ?? 0) + size,
      isComplete: (known?.isComplete ?? true) && isComplete,
      files: [...(known?.files ?? []), file],
      usedAt: Math.max(known?.usedAt ?? 0, usedAt),
    });
  }
  return [...models.values()].sort((a, b) => b.usedAt - a.usedAt);
}

/**
 * Removes a model from the cache.
 * @param model As `listKept` names it.
 * @returns Bytes that became free.
 * @throws BitNetError FILE_NOT_FOUND when it is not kept, IO_FAILED while it is being downloaded.
 */
export async function removeKept(model: string): Promise<number> {
  const folder = await openCacheFolder();
  let bytes = 0;
  let nFiles = 0;
  if (folder !== null)
    for await (const { name, record } of recordedFiles(folder)) {
      if (record.model !== model) continue;
      await removeFile(folder, name);
      bytes += record.written;
      nFiles++;
    }
  if (nFiles === 0) throw new BitNetError("FILE_NOT_FOUND", `${model}: is not kept in this browser`);
  return bytes;
}

/** Null where the browser does not say. */
export async function storageRoom(): Promise<StorageRoom | null> {
  const storage = globalThis.navigator?.storage;
  const estimate = await storage?.estimate?.().catch(() => null);
  if (estimate?.quota === undefined || estimate.usage === undefined) return null;
  const isPersistent = (await storage.persisted?.().catch(() => false)) ?? false;
  return { usedBytes: estimate.usage, quotaBytes: estimate.quota, isPersistent };
}
