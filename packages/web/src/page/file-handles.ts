/**
 * Files of this device by handles, which outlast a visit where the browser has them (Chromium): the one that was loaded last is kept in IndexedDB. Knows
 * no DOM but the picker. Source: File System Access (WICG).
 */

/** A chosen file, and its handle where there are handles. */
export interface ChosenFile {
  file: File;
  handle: FileSystemFileHandle | null;
}

/** What of the API the DOM library does not have. */
type AskedHandle = FileSystemFileHandle & {
  queryPermission?(wanted: { mode: "read" }): Promise<PermissionState>;
  requestPermission?(wanted: { mode: "read" }): Promise<PermissionState>;
};
interface Picker {
  showOpenFilePicker?(options: object): Promise<FileSystemFileHandle[]>;
}
type DroppedItem = DataTransferItem & { getAsFileSystemHandle?(): Promise<FileSystemHandle | null> };

const database = "bitnet.ts";
const store = "handles";
const key = "file";

export function hasPicker(): boolean {
  return (globalThis as Picker).showOpenFilePicker !== undefined;
}

/** Null when the person chose none. */
export async function pickFile(): Promise<ChosenFile | null> {
  const types = [{ description: "GGUF", accept: { "application/octet-stream": [".gguf"] } }];
  try {
    const [handle = null] = (await (globalThis as Picker).showOpenFilePicker?.({ types })) ?? [];
    return handle && { file: await handle.getFile(), handle };
  } catch (error) {
    if ((error as DOMException).name === "AbortError") return null;
    throw error;
  }
}

/** To be asked while the drop is handled. */
export async function droppedFile({ items, files }: DataTransfer): Promise<ChosenFile | null> {
  const [file = null] = files;
  const item = [...items].find(({ kind }) => kind === "file") as DroppedItem | undefined;
  const handle = (await item?.getAsFileSystemHandle?.().catch(() => null)) ?? null;
  return file && { file, handle: handle?.kind === "file" ? (handle as FileSystemFileHandle) : null };
}

/**
 * The file behind a handle, or null while the person has not agreed.
 * @param mayAsk From a click only.
 */
export async function openHandle(handle: AskedHandle, mayAsk: boolean): Promise<File | null> {
  const wanted = { mode: "read" } as const;
  const state = (await handle.queryPermission?.(wanted)) ?? "denied";
  const isAllowed =
    state === "granted" || (mayAsk && (await handle.requestPermission?.(wanted)) === "granted");
  return isAllowed ? handle.getFile() : null;
}

/** Null forgets what was kept. Where nothing can be kept, the next visit asks again. */
export async function keepHandle(handle: FileSystemFileHandle | null): Promise<void> {
  const keep = (handles: IDBObjectStore) => handles.put(handle, key);
  const forget = (handles: IDBObjectStore) => handles.delete(key);
  await (handle ? inStore("readwrite", keep) : inStore("readwrite", forget)).catch(() => {});
}

export async function keptHandle(): Promise<FileSystemFileHandle | null> {
  const kept: unknown = await inStore("readonly", (handles) => handles.get(key)).catch(() => null);
  return typeof FileSystemFileHandle !== "undefined" && kept instanceof FileSystemFileHandle ? kept : null;
}

async function inStore<T>(
  mode: IDBTransactionMode,
  use: (handles: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const opening = indexedDB.open(database, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(store);
  const opened = await answer(opening);
  try {
    return await answer(use(opened.transaction(store, mode).objectStore(store)));
  } finally {
    opened.close();
  }
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
