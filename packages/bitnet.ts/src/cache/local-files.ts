/**
 * Copies of files of this device, made when somebody wishes so: browsers that give no lasting handle of a file let a page read it during one visit
 * only. Works on pages and in workers.
 */
import { BitNetError, throwIfAborted } from "@bitnet.ts/core/base";
import { hash as sha256 } from "@stablelib/sha256";
import { openCacheFolder, readFile, readRecord, removeFile, withLock, writeRecord } from "./cache-folder.ts";
import { hex } from "./file-record.ts";

export interface KeepLocalOptions {
  /** From 0 to 1. */
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
}

const scheme = "file:";
/** Written at a time. */
const pieceBytes = 2 ** 23;

/** True of names in the list of what is kept that stand for a file of this device. */
export function isLocalFile(model: string): boolean {
  return model.startsWith(scheme);
}

/**
 * Copies a file into the browser's own file system, over one of the same name. Of a copy that failed nothing is left, and what was there before stays.
 * @returns Its name in the list of what is kept, for `openLocalFile`.
 * @throws BitNetError BACKEND_UNAVAILABLE where the browser keeps no files, IO_FAILED without room, ABORTED.
 */
export async function keepLocalFile(file: File, options: KeepLocalOptions = {}): Promise<string> {
  const { signal } = options;
  throwIfAborted(signal);
  const folder = await openCacheFolder();
  if (folder === null)
    throw new BitNetError("BACKEND_UNAVAILABLE", "this browser (or window) keeps no files");
  const name = nameOf(file.name);
  const model = scheme + file.name;
  await withLock(name, signal, async () => {
    const before = await readRecord(folder, name);
    const handle = await folder.getFileHandle(name, { create: true });
    try {
      await copy(file, handle, options);
      const { size, lastModified } = file;
      const validator = String(lastModified);
      const state = { written: size, isComplete: true, hash: null, usedAt: Date.now() };
      await writeRecord(folder, name, { model, file: file.name, size, validator, ...state });
    } catch (error) {
      // What went wrong first is what counts.
      if (before === null) await removeFile(folder, name).catch(() => {});
      throw failure(error, file.name, signal);
    }
  });
  return model;
}

/** The copy under its own name. @throws BitNetError FILE_NOT_FOUND. */
export async function openLocalFile(model: string): Promise<File> {
  const folder = await openCacheFolder();
  const label = model.slice(scheme.length);
  const name = nameOf(label);
  const record = folder === null ? null : await readRecord(folder, name);
  const kept = folder === null ? null : await readFile(folder, name);
  if (folder === null || !record?.isComplete || kept?.size !== record.size)
    throw new BitNetError("FILE_NOT_FOUND", `${label}: is not kept in this browser`);
  await writeRecord(folder, name, { ...record, usedAt: Date.now() }).catch(() => {}); // no room, no date
  return new File([kept], label, { lastModified: Number(record.validator) });
}

async function copy(file: File, handle: FileSystemFileHandle, options: KeepLocalOptions): Promise<void> {
  if (handle.createWritable === undefined)
    throw new BitNetError("BACKEND_UNAVAILABLE", "this browser lets no page write files of its own");
  const out = await handle.createWritable();
  try {
    for (let done = 0; done < file.size; done += pieceBytes) {
      throwIfAborted(options.signal);
      await out.write(file.slice(done, done + pieceBytes));
      options.onProgress?.(Math.min(1, (done + pieceBytes) / file.size));
    }
    await out.close();
  } catch (error) {
    await out.abort().catch(() => {}); // it may have ended by itself
    throw error;
  }
}

function failure(error: unknown, name: string, signal: AbortSignal | undefined): unknown {
  if (error instanceof BitNetError) return error;
  throwIfAborted(signal);
  const { name: kind, message } = error as DOMException;
  const reason = kind === "QuotaExceededError" ? "the browser gives no more room" : message;
  return new BitNetError("IO_FAILED", `${name}: cannot be kept (${reason})`, { cause: error });
}

/** File names may hold what names in the file system may not. */
function nameOf(file: string): string {
  return `file-${hex(sha256(new TextEncoder().encode(file))).slice(0, 40)}`;
}
