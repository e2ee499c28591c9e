/**
 * Downloads one file into the cache: in order, with a record that lets a later visit go on, verified where its hash is promised. Knows
 * nothing of hubs and models. Where the browser gives no more room, what is there stays and the rest is read from the server each time.
 */
import { BitNetError } from "@bitnet.ts/core";
import { bodyPieces, PassingFailure, type RequestOptions, request } from "../hub/requests.ts";
import { retrying } from "../hub/retrying.ts";
import type { HubSettings } from "../hub/settings.ts";
import type { DownloadPhase } from "../types.ts";
import {
  openForWriting,
  readFile,
  readRecord,
  removeFile,
  type SyncAccessHandle,
  withLock,
  writeRecord,
} from "./cache-folder.ts";
import { type FileRecord, hex, resumeHash, saveHash } from "./file-record.ts";

export interface KeepTask {
  /** Of the file in the cache: derived from its hash or its address. */
  name: string;
  model: string;
  file: string;
  address: string;
  /** What is promised; null for an address, whose server is asked. */
  promised: { size: number; hash: string; hashKind: "sha256" | "git" } | null;
  settings: HubSettings;
}

export interface KeepOptions {
  signal?: AbortSignal | undefined;
  /** Bytes that are there by now, and of how many. */
  onBytes?: (done: number, size: number) => void;
  onPhase?: (phase: DownloadPhase) => void;
  onNotice: (line: string) => void;
}

/** The file as far as it is kept; `isWhole` false: the rest must be read elsewhere. */
export interface KeptFile {
  blob: Blob;
  isWhole: boolean;
}

/** A record is written each time that so many bytes have come. */
const recordEveryBytes = 8 * 2 ** 20;
/** How often the record is looked at that another tab writes. */
const followMs = 500;
/** Left to other uses of the same site. */
const reserveBytes = 16 * 2 ** 20;
/** Git's names are of whole files with a header, which cannot be computed in pieces here; such files are small. */
const largestGitFile = 64 * 2 ** 20;

/** The browser has no room for the rest. */
class NoRoom extends Error {}

/** The bytes on the server are others than those that have been begun with. */
class Changed extends Error {}

/** @throws BitNetError of requests, IO_FAILED for wrong bytes or a broken cache, ABORTED. */
export function keepFile(
  folder: FileSystemDirectoryHandle,
  task: KeepTask,
  options: KeepOptions,
): Promise<KeptFile> {
  const work = () => new Keeping(folder, task, options).run();
  return withLock(task.name, options.signal, work, () => followOther(folder, task, options));
}

/** Tells how far another tab has come with the file. @returns Ends it. */
function followOther(
  folder: FileSystemDirectoryHandle,
  { name }: KeepTask,
  { onPhase, onBytes }: KeepOptions,
): () => void {
  let isOver = false;
  const look = async () => {
    const record = await readRecord(folder, name).catch(() => null); // it may be changing
    if (record !== null && !isOver) onBytes?.(record.written, record.size);
  };
  onPhase?.("waiting");
  const timer = setInterval(() => void look(), followMs);
  return () => {
    isOver = true;
    clearInterval(timer);
    onPhase?.("downloading");
  };
}

class Keeping {
  private readonly folder: FileSystemDirectoryHandle;
  private readonly task: KeepTask;
  private readonly options: KeepOptions;

  constructor(folder: FileSystemDirectoryHandle, task: KeepTask, options: KeepOptions) {
    this.folder = folder;
    this.task = task;
    this.options = options;
  }

  async run(): Promise<KeptFile> {
    const { folder, task } = this;
    for (let attempt = 0; attempt < 2; attempt++) {
      let record = await readRecord(folder, task.name);
      const file = await readFile(folder, task.name);
      if (record !== null && (file === null || file.size < record.written)) record = null;
      if (record?.isComplete && (await this.isCurrent(record))) return this.finished(record);
      const partial = await this.fetchRest(record?.isComplete ? null : record);
      if (partial !== null) return partial;
      const complete = await readRecord(folder, task.name);
      if (complete?.isComplete) return this.finished(complete);
      this.options.onBytes?.(0, task.promised?.size ?? 0);
    }
    throw new BitNetError(
      "IO_FAILED",
      `${task.model}: the bytes of ${task.file} that came are not those that the hub promises, twice in a row; nothing was kept`,
      { details: { file: task.file, expected: task.promised?.hash } },
    );
  }

  private async finished(record: FileRecord): Promise<KeptFile> {
    const { folder, task } = this;
    await writeRecord(folder, task.name, { ...record, usedAt: Date.now() }).catch(() => {}); // no room, no date
    const blob = await readFile(folder, task.name);
    if (blob === null)
      throw new BitNetError("IO_FAILED", `${task.model}: its file has left the cache; try again`);
    this.options.onBytes?.(record.size, record.size);
    return { blob, isWhole: true };
  }

  /** Files of a hub are named by their hash. An address is asked; what is kept serves when it cannot be. */
  private async isCurrent(record: FileRecord): Promise<boolean> {
    if (this.task.promised !== null) return true;
    try {
      const asked = this.asked("bytes=0-0");
      const response = await request(this.task.address, asked);
      await response.body?.cancel();
      const range = response.headers.get("content-range");
      // Across origins the range may be hidden; the validator then speaks alone.
      const isSameSize = (response.status === 206 && range === null) || sizeOf(response, 0) === record.size;
      return isSameSize && validatorOf(response) === record.validator;
    } catch (error) {
      if (!(error instanceof PassingFailure)) throw error;
      this.options.onNotice(`bitnet: ${error.message}; the kept copy serves`);
      return true;
    }
  }

  /** Null when all of it is there, or when it was wrong and is gone. */
  private async fetchRest(begun: FileRecord | null): Promise<KeptFile | null> {
    const { folder, task, options } = this;
    let out: SyncAccessHandle;
    try {
      out = await openForWriting(folder, task.name);
    } catch (error) {
      // Not even an empty file: what is there, if anything, is left to a visit with more room.
      const reason = reasonOfNoRoom(error);
      if (reason === null) throw error;
      this.tellNoRoom(reason, "it");
      return { blob: new Blob([]), isWhole: false };
    }
    const writing = new Writing(folder, task, out, begun);
    try {
      let before = 0;
      const attempt = async () => {
        before = writing.written;
        await this.fetchOnce(writing);
      };
      const hasProgressed = () => writing.written - before >= 2 ** 20;
      await retrying(attempt, { signal: options.signal }, hasProgressed);
      options.onPhase?.("verifying");
      await writing.finish();
    } catch (error) {
      const reason = reasonOfNoRoom(error);
      await writing.save().catch(() => {}); // whatever happens, what is there counts the next time
      if (reason === null) throw error;
      this.tellNoRoom(reason, writing.written === 0 ? "it" : "the rest");
      out.close();
      const blob = (await readFile(folder, task.name)) ?? new Blob([]);
      return { blob: blob.slice(0, writing.written), isWhole: false };
    } finally {
      out.close();
    }
    return null;
  }

  private tellNoRoom(reason: string, what: "it" | "the rest"): void {
    this.options.onNotice(
      `bitnet: ${this.task.model} is not kept (${reason}); ${what} is read from the server`,
    );
  }

  private async fetchOnce(writing: Writing): Promise<void> {
    const { task, options } = this;
    if (writing.isWhole) return;
    const asked = this.asked(`bytes=${writing.written}-`);
    const response = await request(task.address, asked).catch((error: unknown) => {
      if (!isBeyondEnd(error) || writing.written === 0) throw error;
      return null; // the file on the server is shorter by now
    });
    if (response === null) {
      writing.restart();
      return this.fetchOnce(writing);
    }
    try {
      await this.prepare(writing, response);
    } catch (error) {
      await response.body?.cancel().catch(() => {});
      if (!(error instanceof Changed)) throw error;
      writing.restart();
      return this.fetchOnce(writing);
    }
    options.onPhase?.("downloading");
    const tell = () => options.onBytes?.(writing.written, writing.size ?? writing.written);
    tell();
    for await (const bytes of bodyPieces(response, asked)) {
      if (writing.size !== null && writing.written + bytes.length > writing.size)
        throw new PassingFailure(
          `${asked.what}: the server sent more than the announced ${writing.size} bytes`,
        );
      await writing.append(bytes);
      tell();
    }
    writing.size ??= writing.written; // a server that does not say the length ends the file by ending the answer
    if (!writing.isWhole)
      throw new PassingFailure(
        `${asked.what}: the connection ended after ${writing.written} of ${writing.size} bytes`,
      );
  }

  /** Checks an answer against what has been begun, and the room for the rest. */
  private async prepare(writing: Writing, response: Response): Promise<void> {
    const { task } = this;
    if (response.status === 200) writing.restart(); // a server that sends whole files only
    const size = sizeOf(response, writing.written) ?? task.promised?.size ?? null;
    if (task.promised !== null && task.promised.size !== size) {
      throw new BitNetError(
        "IO_FAILED",
        `${task.model}: the hub promises ${task.promised.size} bytes of ${task.file}, but the server has ${size}; try again`,
      );
    }
    const validator = task.promised === null ? validatorOf(response) : null;
    const isOther = size === null || size !== writing.size || validator !== writing.validator;
    if (writing.written > 0 && isOther) throw new Changed();
    writing.size = size;
    writing.validator = validator;
    const { quota, usage } = await navigator.storage.estimate().catch(() => ({}) as StorageEstimate);
    const needed = (size ?? 0) - writing.written;
    if (quota !== undefined && usage !== undefined && quota - usage < needed + reserveBytes)
      throw new NoRoom(
        `${megabytes(needed)} more are needed, the browser grants ${megabytes(Math.max(0, quota - usage))}`,
      );
  }

  private asked(range: string): RequestOptions {
    const { settings, model, file, promised } = this.task;
    const { signal } = this.options;
    const what = promised === null ? model : `${model.replace(/^hf:/, "").replace(/:.*$/, "")}/${file}`;
    return { settings, what, headers: { range }, ...(signal ? { signal } : {}) };
  }
}

/** The file that is being written, its hash, and its record. */
class Writing {
  /** Null while nobody has said it; such a download cannot go on later. */
  size: number | null;
  validator: string | null;
  written: number;
  private readonly folder: FileSystemDirectoryHandle;
  private readonly task: KeepTask;
  private readonly out: SyncAccessHandle;
  private hash;
  private unrecorded = 0;

  constructor(
    folder: FileSystemDirectoryHandle,
    task: KeepTask,
    out: SyncAccessHandle,
    begun: FileRecord | null,
  ) {
    this.folder = folder;
    this.task = task;
    this.out = out;
    this.size = begun?.size ?? null;
    this.validator = begun?.validator ?? null;
    this.written = begun?.written ?? 0;
    this.hash = resumeHash(begun?.hash ?? null);
    out.truncate(this.written);
  }

  get isWhole(): boolean {
    return this.written > 0 && this.written === this.size;
  }

  restart(): void {
    this.written = 0;
    this.hash = resumeHash(null);
    this.out.truncate(0);
  }

  async append(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const count = this.out.write(done === 0 ? bytes : bytes.subarray(done), { at: this.written + done });
        if (count === 0) throw new NoRoom("the browser takes no more");
        done += count;
      }
    } catch (cause) {
      const reason = reasonOfNoRoom(cause);
      throw reason === null
        ? new BitNetError("IO_FAILED", `${this.task.model}: the browser's file system failed`, { cause })
        : new NoRoom(reason);
    }
    this.hash.update(bytes);
    this.written += bytes.length;
    this.unrecorded += bytes.length;
    if (this.unrecorded >= recordEveryBytes) await this.save();
  }

  async save(): Promise<void> {
    this.unrecorded = 0;
    if (this.written === 0 || this.size === null) return;
    this.out.flush();
    await writeRecord(this.folder, this.task.name, this.record(false, this.size));
  }

  /** Marks the file as complete when its hash is the promised one, and removes it otherwise. */
  async finish(): Promise<void> {
    const { promised, name } = this.task;
    this.out.flush();
    this.out.close();
    const isRight =
      promised === null ||
      promised.hash ===
        (promised.hashKind === "sha256" ? hex(this.hash.digest()) : await this.gitName(promised.hash));
    if (isRight) await writeRecord(this.folder, name, this.record(true, this.written));
    else await removeFile(this.folder, name);
  }

  private record(isComplete: boolean, size: number): FileRecord {
    const { model, file } = this.task;
    const { validator, written } = this;
    const hash = isComplete ? null : saveHash(this.hash);
    return { model, file, size, validator, written, isComplete, hash, usedAt: Date.now() };
  }

  /** Git's name of a blob: SHA-1 of a header and the bytes. A file too large to hold is believed. */
  private async gitName(promised: string): Promise<string> {
    if (this.written > largestGitFile) return promised;
    const header = new TextEncoder().encode(`blob ${this.written}\0`);
    const bytes = new Uint8Array(header.length + this.written);
    bytes.set(header);
    const file = await readFile(this.folder, this.task.name);
    bytes.set(new Uint8Array((await file?.arrayBuffer()) ?? new ArrayBuffer(0)), header.length);
    return hex(new Uint8Array(await crypto.subtle.digest("SHA-1", bytes)));
  }
}

/** Null for other errors. */
function reasonOfNoRoom(error: unknown): string | null {
  if (error instanceof NoRoom) return error.message;
  return (error as DOMException | null)?.name === "QuotaExceededError" ? "its quota is used up" : null;
}

/** Bytes of the whole file. Across origins browsers may hide Content-Range, but not the length of the answer. */
function sizeOf(response: Response, offset: number): number | null {
  const range = response.headers.get("content-range") ?? "";
  const [, first, total] = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15})$/.exec(range.trim()) ?? [];
  if (total !== undefined && Number(first) === offset) return Number(total);
  const length = Number(response.headers.get("content-length") ?? Number.NaN);
  if (!Number.isSafeInteger(length) || response.headers.has("content-encoding")) return null;
  return response.status === 200 ? length : offset + length;
}

function isBeyondEnd(error: unknown): boolean {
  return error instanceof BitNetError && error.details.status === 416;
}

function validatorOf({ headers }: Response): string | null {
  return headers.get("etag") ?? headers.get("last-modified");
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
