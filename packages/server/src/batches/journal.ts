/**
 * A file of lines that is its own journal: a line counts once its line feed is there. On opening, what a crash left behind it is cut off
 * and the ids of its lines are collected. Lines reach the disk within a fifth of a second. Knows nothing of what the lines say.
 */
import { copyFile, type FileHandle, link, open, rename, rm } from "node:fs/promises";
import { BitNetError } from "@bitnet.ts/core";

const syncMs = 200;
const chunkBytes = 1 << 20;
/** Longer ones are no lines of answers. */
const maxLineBytes = 1 << 26;

export interface JournalOptions {
  /** The id of a line; null for what is no line of this kind. */
  idOf(line: string): string | null;
  /**
   * Another process may still have the file open: go on in a copy, so that what it writes from now on is lost instead of doubled. This is the
   * copy's own name, under which it stays when somebody else goes on in a copy of it.
   */
  fence?: string | null;
  /** The file was named by a person and may be something else: what is no line of this kind is an error, and nothing is cut off. */
  begins?: string;
}

export class Journal {
  readonly #handle: FileHandle;
  /** Ids of its lines. */
  readonly ids: ReadonlySet<string>;
  readonly #ids: Set<string>;
  #bytes: number;
  #tail: Promise<void> = Promise.resolve();
  #syncTimer: NodeJS.Timeout | null = null;
  #isBroken = false;
  #isClosed = false;

  private constructor(handle: FileHandle, ids: Set<string>, bytes: number) {
    this.#handle = handle;
    this.ids = ids;
    this.#ids = ids;
    this.#bytes = bytes;
  }

  static async open(path: string, { idOf, fence = null, begins }: JournalOptions): Promise<Journal> {
    const handle = await (fence === null ? open(path, "a+", 0o600) : openCopy(path, fence));
    try {
      const ids = new Set<string>();
      const bytes = await readWholeLines(handle, (line) => {
        const id = idOf(line);
        if (id === null || ids.has(id)) return false;
        ids.add(id);
        return true;
      });
      if (begins !== undefined) await checkRest(handle, bytes, begins, path);
      await handle.truncate(bytes);
      return new Journal(handle, ids, bytes);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Adds a line, unless one of its id is there. When that fails, what was written of it is taken back.
   * @throws the file system's error.
   */
  append(id: string, line: string): Promise<void> {
    const done = this.#tail.then(() => this.#write(id, line));
    this.#tail = done.catch(() => {});
    return done;
  }

  async close(): Promise<void> {
    await this.#tail;
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#syncTimer !== null) clearTimeout(this.#syncTimer);
    this.#syncTimer = null;
    try {
      await this.#handle.datasync();
    } finally {
      await this.#handle.close();
    }
  }

  async #write(id: string, line: string): Promise<void> {
    if (this.#ids.has(id)) return;
    if (this.#isBroken) throw new Error("the journal could not be repaired after a failed write");
    const bytes = Buffer.from(`${line}\n`);
    try {
      for (let done = 0; done < bytes.length; )
        done += (await this.#handle.write(bytes, done, bytes.length - done)).bytesWritten;
    } catch (error) {
      await this.#handle.truncate(this.#bytes).catch(() => {
        this.#isBroken = true;
      });
      throw error;
    }
    this.#bytes += bytes.length;
    this.#ids.add(id);
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = null;
      void this.#handle.datasync().catch(() => {});
    }, syncMs);
  }
}

/** Opened before it gets its name: two that do this at the same time have a file each, and one of them the name. */
async function openCopy(path: string, copy: string): Promise<FileHandle> {
  const linked = `${copy}.part`;
  let handle: FileHandle | null = null;
  try {
    await copyFile(path, copy).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    handle = await open(copy, "a+", 0o600);
    await link(copy, linked);
    await rename(linked, path);
    return handle;
  } catch (error) {
    await handle?.close().catch(() => {});
    await rm(linked, { force: true });
    await rm(copy, { force: true });
    throw error;
  }
}

/** What follows the last good line has to be the beginning of another. */
async function checkRest(handle: FileHandle, from: number, begins: string, path: string): Promise<void> {
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(chunkBytes), 0, chunkBytes, from);
  const rest = buffer.toString("utf8", 0, bytesRead);
  const isTorn = !rest.includes("\n") && (rest.startsWith(begins) || begins.startsWith(rest));
  if (isTorn) return;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${path}: exists and is no file of answers to this batch; remove it or name another`,
  );
}

/** @returns Where the last line ends that was whole and accepted by `onLine`. */
async function readWholeLines(handle: FileHandle, onLine: (line: string) => boolean): Promise<number> {
  let end = 0;
  /** Of the line that is not whole yet. */
  let pieces: Buffer[] = [];
  for (let at = 0; ; ) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(chunkBytes), 0, chunkBytes, at);
    if (bytesRead === 0) return end;
    at += bytesRead;
    let rest = buffer.subarray(0, bytesRead);
    for (let feed = rest.indexOf(10); feed >= 0; feed = rest.indexOf(10)) {
      const line = Buffer.concat([...pieces, rest.subarray(0, feed)]);
      if (!onLine(line.toString("utf8"))) return end;
      end += line.length + 1;
      pieces = [];
      rest = rest.subarray(feed + 1);
    }
    pieces.push(rest);
    if (at - end > maxLineBytes) return end;
  }
}
