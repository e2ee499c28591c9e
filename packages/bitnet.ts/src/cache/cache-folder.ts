/**
 * The folder in the browser's own file system (OPFS) where models are kept: files named by their contents or their address, each with a
 * record beside it. Source: File System Standard (WHATWG).
 */
import { BitNetError, throwIfAborted } from "@bitnet.ts/core/base";
import { type FileRecord, parseRecord } from "./file-record.ts";

const folderName = "bitnet.ts";
const recordSuffix = ".json";

/** Only in workers, hence not in the DOM library. */
export interface SyncAccessHandle {
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}
interface SyncFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle?(): Promise<SyncAccessHandle>;
}

/** Null where there is no such file system: private windows, insecure addresses, runtimes that are no browsers. */
export async function openCacheFolder(): Promise<FileSystemDirectoryHandle | null> {
  try {
    const root = await globalThis.navigator?.storage?.getDirectory?.();
    return (await root?.getDirectoryHandle(folderName, { create: true })) ?? null;
  } catch {
    return null;
  }
}

/** True on threads that may write in place: workers. */
export function canWriteHere(): boolean {
  return "FileSystemSyncAccessHandle" in globalThis;
}

/** Opens a file for writing, making it when it is missing. The caller closes it. Nobody else has it open: callers hold its lock. */
export async function openForWriting(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<SyncAccessHandle> {
  const handle: SyncFileHandle = await folder.getFileHandle(name, { create: true });
  const opened = await handle.createSyncAccessHandle?.();
  if (opened === undefined) throw new BitNetError("INTERNAL", "cache: this thread cannot write in place");
  return opened;
}

/** Null when there is no such file. */
export async function readFile(folder: FileSystemDirectoryHandle, name: string): Promise<File | null> {
  try {
    return await (await folder.getFileHandle(name)).getFile();
  } catch {
    return null;
  }
}

export async function writeText(
  folder: FileSystemDirectoryHandle,
  name: string,
  text: string,
): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  if (!canWriteHere()) return writeOnPage(folder, name, bytes);
  const file = await openForWriting(folder, name);
  try {
    file.truncate(0);
    file.write(bytes, { at: 0 });
    file.flush();
  } finally {
    file.close();
  }
}

async function writeOnPage(
  folder: FileSystemDirectoryHandle,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const out = await (await folder.getFileHandle(name, { create: true })).createWritable();
  await out.write(bytes);
  await out.close();
}

/** Null when there is none, or one that was torn while it was written: the file then begins anew. */
export async function readRecord(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<FileRecord | null> {
  const file = await readFile(folder, name + recordSuffix);
  return file === null ? null : parseRecord(await file.text());
}

export function writeRecord(
  folder: FileSystemDirectoryHandle,
  name: string,
  record: FileRecord,
): Promise<void> {
  return writeText(folder, name + recordSuffix, JSON.stringify(record));
}

/** All files that have a record. */
export async function* recordedFiles(
  folder: FileSystemDirectoryHandle,
): AsyncGenerator<{ name: string; record: FileRecord }> {
  const names: string[] = [];
  for await (const name of (folder as unknown as { keys(): AsyncIterable<string> }).keys())
    if (name.endsWith(recordSuffix)) names.push(name.slice(0, -recordSuffix.length));
  for (const name of names.sort()) {
    const record = await readRecord(folder, name);
    if (record !== null) yield { name, record };
  }
}

/** Removes a file and its record. Neither needs to be there. */
export async function removeFile(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  // The record goes first: a file without one begins anew.
  for (const each of [name + recordSuffix, name]) {
    try {
      await folder.removeEntry(each);
    } catch (cause) {
      if ((cause as DOMException).name !== "NotFoundError")
        throw new BitNetError("IO_FAILED", `cache: a file is in use and cannot be removed`, { cause });
    }
  }
}

/**
 * Runs `work` while no other tab or worker works on the file of this name.
 * @param onWait Called where another one does, and what it returns when that has ended.
 * @throws BitNetError ABORTED while it waits, and what `work` throws.
 */
export async function withLock<T>(
  name: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  onWait: () => () => void = () => () => {},
): Promise<T> {
  const { locks } = globalThis.navigator;
  const lockName = `${folderName}/${name}`;
  const atOnce = await locks.request(lockName, { ifAvailable: true }, async (lock) =>
    lock === null ? null : { result: await work() },
  );
  if (atOnce !== null) return atOnce.result;
  const endWaiting = onWait();
  try {
    return (await locks.request(lockName, signal === undefined ? {} : { signal }, () => {
      endWaiting();
      return work();
    })) as T;
  } catch (error) {
    endWaiting();
    throwIfAborted(signal);
    throw error;
  }
}
