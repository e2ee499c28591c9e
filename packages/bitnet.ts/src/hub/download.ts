/**
 * Downloads one file of a repository: in pieces, over several connections, into a file of another name that a killed process leaves
 * behind and the next one continues. Only bytes whose hash is the promised one get the final name. Knows nothing of caches.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BitNetError, throwIfAborted } from "@bitnet.ts/core";
import { acquireLock } from "@bitnet.ts/core/node";
import { tellApart } from "../byte-units.ts";
import type { DownloadPhase } from "../types.ts";
import { lockPath } from "./cache.ts";
import { type Journal, openJournal } from "./journal.ts";
import type { HubFile } from "./model-info.ts";
import { bodyPieces, PassingFailure, type RequestOptions, request } from "./requests.ts";
import { type RetryOptions, retrying } from "./retrying.ts";
import type { HubSettings } from "./settings.ts";

export interface DownloadOptions extends RetryOptions {
  settings: HubSettings;
  /** Connections at once; default 4. */
  connections?: number;
  /** Bytes of a piece; default 16 MiB. */
  pieceBytes?: number;
  /** Bytes of this file that are there by now. Falls when a file turns out to be wrong and starts again. */
  onBytes?: (done: number) => void;
  onPhase?: (phase: DownloadPhase) => void;
  /** Bytes that a disk has room for; default: asks the system. For tests. */
  freeBytes?: (folder: string) => Promise<number>;
}

export interface DownloadTask {
  file: HubFile;
  /** `owner/name` */
  repo: string;
  commit: string;
  /** Where the file is to lie. */
  target: string;
  /** Folder for what is unfinished, on the same disk. */
  workFolder: string;
}

/** Room that is left on the disk for others. */
const reserveBytes = 32 * 2 ** 20;

/**
 * Does nothing when the file is there already. Where another process downloads the same file, waits for it.
 * @throws BitNetError IO_FAILED (network, disk, wrong bytes), ACCESS_DENIED, FILE_NOT_FOUND, ABORTED.
 */
export async function download(task: DownloadTask, options: DownloadOptions): Promise<void> {
  const { file, target, workFolder } = task;
  if (await isThere(task)) return;
  await onDisk(target, async () => {
    await mkdir(dirname(target), { recursive: true });
    await mkdir(workFolder, { recursive: true });
  });
  const unfinished = join(workFolder, file.hash);
  const lock = await onDisk(target, () =>
    acquireLock(lockPath(workFolder, file.hash), {
      signal: options.signal,
      onWait: () => options.onPhase?.("waiting"),
      isDone: () => isThere(task),
    }),
  );
  try {
    if (await isThere(task)) return;
    await fetchVerified(task, `${unfinished}.bitnet-part`, options);
  } finally {
    await lock?.release();
  }
}

/** Of a blob the name says what it holds; any other file is read. */
async function isThere({ file, target }: DownloadTask): Promise<boolean> {
  const found = await stat(target).catch(() => null);
  if (found?.isFile() !== true || found.size !== file.size) return false;
  return target.endsWith(file.hash) || (await hashOf(target, file)) === file.hash;
}

async function fetchVerified(task: DownloadTask, part: string, options: DownloadOptions): Promise<void> {
  const { file, target, repo } = task;
  const journalPath = `${part}.journal`;
  for (let attempt = 0; attempt < 2; attempt++) {
    options.onPhase?.("downloading");
    await fetchPieces(task, part, journalPath, options);
    options.onPhase?.("verifying");
    const found = await onDisk(target, () => hashOf(part, file, options.signal));
    if (found === file.hash) {
      await onDisk(target, async () => {
        await rename(part, target);
        await rm(journalPath, { force: true });
      });
      return;
    }
    // Whichever piece is wrong, nothing of it is kept.
    await rm(part, { force: true });
    await rm(journalPath, { force: true });
    options.onBytes?.(0);
  }
  throw new BitNetError(
    "IO_FAILED",
    `${repo}/${file.path}: the bytes that came are not those that the hub promises (${file.hashKind} ${file.hash.slice(0, 12)}…), ` +
      "twice in a row; nothing was kept. Try later, or another network",
    { details: { repo, file: file.path, expected: file.hash } },
  );
}

async function fetchPieces(
  task: DownloadTask,
  part: string,
  journalPath: string,
  options: DownloadOptions,
): Promise<void> {
  const { file, target } = task;
  const { pieceBytes = 16 * 2 ** 20 } = options;
  const hasPart = await stat(part).then(
    () => true,
    () => false,
  );
  if (!hasPart) await rm(journalPath, { force: true });
  const { out, journal } = await onDisk(target, async () => {
    const opened = await open(part, hasPart ? "r+" : "w+");
    try {
      return { out: opened, journal: await openJournal(journalPath, { size: file.size, pieceBytes }) };
    } catch (error) {
      await opened.close();
      throw error;
    }
  });
  try {
    const pieces = new PieceQueue(task, { out, journal, pieceBytes }, options);
    await checkDisk(task, pieces.missingBytes, options);
    await pieces.run();
    await onDisk(target, async () => {
      await out.truncate(file.size); // what an earlier, longer state left behind
      await out.sync();
    });
  } finally {
    await journal.close();
    await out.close();
  }
}

/** Thrown inside when a server sends whole files only. */
class IgnoresRanges extends Error {}

class PieceQueue {
  private readonly task: DownloadTask;
  private readonly out: FileHandle;
  private readonly journal: Journal;
  private readonly pieceBytes: number;
  private readonly options: DownloadOptions;
  private readonly address: string;
  /** Where redirects ended the last time. */
  private resolved: string | null = null;
  private readonly pending: number[] = [];
  private doneBytes: number;

  constructor(
    task: DownloadTask,
    { out, journal, pieceBytes }: { out: FileHandle; journal: Journal; pieceBytes: number },
    options: DownloadOptions,
  ) {
    this.task = task;
    this.out = out;
    this.journal = journal;
    this.pieceBytes = pieceBytes;
    this.options = options;
    const path = task.file.path.split("/").map(encodeURIComponent).join("/");
    this.address = `${options.settings.endpoint}/${task.repo}/resolve/${task.commit}/${path}`;
    journal.done.forEach((isDone, piece) => {
      if (!isDone) this.pending.push(piece);
    });
    this.doneBytes = task.file.size - this.missingBytes;
    options.onBytes?.(this.doneBytes);
  }

  get missingBytes(): number {
    return this.pending.reduce((sum, piece) => sum + this.lengthOf(piece), 0);
  }

  async run(): Promise<void> {
    const stop = new AbortController();
    const { signal } = this.options;
    const all = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const worker = async () => {
      for (let piece = this.pending.shift(); piece !== undefined; piece = this.pending.shift()) {
        await this.fetchPiece(piece, all);
        await onDisk(this.task.target, () => this.journal.add(piece));
      }
    };
    const { connections = 4 } = this.options;
    const workers = Array.from({ length: Math.min(connections, this.pending.length) }, worker);
    // The first failure counts; the others end because of it.
    let failure: unknown;
    for (const work of workers)
      work.catch((error) => {
        failure ??= error;
        stop.abort();
      });
    await Promise.allSettled(workers);
    throwIfAborted(signal);
    if (failure instanceof IgnoresRanges) return this.fetchWhole();
    if (failure !== undefined) throw failure;
  }

  private lengthOf(piece: number): number {
    return Math.min(this.pieceBytes, this.task.file.size - piece * this.pieceBytes);
  }

  private async fetchPiece(piece: number, signal: AbortSignal): Promise<void> {
    const first = piece * this.pieceBytes;
    const length = this.lengthOf(piece);
    let got = 0;
    let gotBefore = 0;
    const attempt = async () => {
      gotBefore = got;
      const asked = requestOptions(
        this.task,
        this.options,
        signal,
        `bytes=${first + got}-${first + length - 1}`,
      );
      const response = await this.answer(asked);
      this.checkRange(response, first + got, first + length - 1);
      for await (const bytes of bodyPieces(response, asked)) {
        if (got + bytes.length > length)
          throw new PassingFailure(`${asked.what}: the server sent more than was asked for`);
        await this.write(bytes, first + got);
        got += bytes.length;
      }
      if (got < length)
        throw new PassingFailure(`${asked.what}: the connection ended after ${got} of ${length} bytes`);
    };
    const hasProgressed = () => got - gotBefore >= Math.min(2 ** 20, this.pieceBytes / 8);
    try {
      await retrying(attempt, { ...this.options, signal }, hasProgressed);
    } catch (error) {
      this.count(-got);
      throw error;
    }
  }

  /** Asks where the redirects led last time, and from the start again when that place refuses (its address has expired). */
  private async answer(asked: RequestOptions): Promise<Response> {
    const resolved = this.resolved;
    try {
      const response = await request(resolved ?? this.address, asked);
      this.resolved = response.url;
      return response;
    } catch (error) {
      if (
        resolved === null ||
        resolved === this.address ||
        !(error instanceof BitNetError) ||
        error.code === "ABORTED"
      )
        throw error;
      this.resolved = null;
      throw error instanceof PassingFailure ? error : new PassingFailure(error.message, null, error);
    }
  }

  private checkRange(response: Response, first: number, last: number): void {
    const { size } = this.task.file;
    const what = `${this.task.repo}/${this.task.file.path}`;
    if (response.status === 200 && first === 0 && last === size - 1) return;
    if (response.status === 200) {
      response.body?.cancel().catch(() => {});
      throw new IgnoresRanges();
    }
    const range = response.headers.get("content-range")?.trim() ?? "";
    if (range === `bytes ${first}-${last}/${size}`) return;
    response.body?.cancel().catch(() => {});
    const [, total] = /^bytes \d{1,15}-\d{1,15}\/(\d{1,15})$/.exec(range) ?? [];
    if (total !== undefined && Number(total) !== size) {
      throw new BitNetError(
        "IO_FAILED",
        `${what}: the hub promises ${size} bytes, but the server has ${total}; the file may have changed, try again`,
      );
    }
    throw new PassingFailure(
      `${what}: the server was asked for bytes ${first}-${last} and answered with others`,
    );
  }

  /** From a server that sends whole files only: in order, over one connection, from the start after every failure. */
  private async fetchWhole(): Promise<void> {
    const { size } = this.task.file;
    const { signal } = this.options;
    const attempt = async () => {
      this.count(-this.doneBytes);
      const asked = requestOptions(this.task, this.options, signal, null);
      const response = await request(this.address, asked);
      let at = 0;
      for await (const bytes of bodyPieces(response, asked)) {
        if (at + bytes.length > size)
          throw new PassingFailure(`${asked.what}: the server sent more than the promised ${size} bytes`);
        await this.write(bytes, at);
        at += bytes.length;
      }
      if (at < size)
        throw new PassingFailure(`${asked.what}: the connection ended after ${at} of ${size} bytes`);
    };
    await retrying(attempt, { ...this.options, signal });
  }

  private async write(bytes: Uint8Array, position: number): Promise<void> {
    await onDisk(this.task.target, async () => {
      for (let done = 0; done < bytes.length; )
        done += (await this.out.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
    });
    this.count(bytes.length);
  }

  private count(bytes: number): void {
    this.doneBytes += bytes;
    this.options.onBytes?.(this.doneBytes);
  }
}

function requestOptions(
  { repo, file }: DownloadTask,
  { settings }: DownloadOptions,
  signal: AbortSignal | undefined,
  range: string | null,
): RequestOptions {
  return {
    settings,
    what: `${repo}/${file.path}`,
    ...(range === null ? {} : { headers: { range } }),
    ...(signal === undefined ? {} : { signal }),
  };
}

async function checkDisk(
  { target, workFolder, file, repo }: DownloadTask,
  needed: number,
  options: DownloadOptions,
): Promise<void> {
  const free = await onDisk(target, () => (options.freeBytes ?? freeBytesOf)(workFolder));
  if (needed === 0 || free >= needed + reserveBytes) return;
  const [wanted, room] = tellApart(needed + reserveBytes, free);
  throw new BitNetError(
    "IO_FAILED",
    `${repo}/${file.path}: needs ${wanted} more, ${reserveBytes / 2 ** 20} MiB of them to spare, but the disk of ${dirname(target)} has room for ${room}; ` +
      "make room, or choose another place (--dir, HF_HUB_CACHE)",
    { details: { needed, free } },
  );
}

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

async function hashOf(path: string, { size, hashKind }: HubFile, signal?: AbortSignal): Promise<string> {
  const hash = createHash(hashKind === "sha256" ? "sha256" : "sha1");
  if (hashKind === "git") hash.update(`blob ${size}\0`);
  for await (const bytes of createReadStream(path, { highWaterMark: 2 ** 20 })) {
    throwIfAborted(signal);
    hash.update(bytes as Uint8Array);
  }
  return hash.digest("hex");
}

/** Failures of the disk in words. */
async function onDisk<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    const isFull = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
    const reason = isFull
      ? "the disk is full (or a quota is); what came so far is kept, so make room and repeat"
      : `cannot be written (${code ?? message})`;
    throw new BitNetError("IO_FAILED", `${path}: ${reason}`, { cause });
  }
}
