/** The files of clients: content beside a record of it, by tenant. Uploads are spooled to disk first and moved when they are whole. */
import type { ReadStream } from "node:fs";
import { link, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isObject } from "../fields.ts";
import { newRecordId, Records } from "../store/records.ts";

export interface FileRecord {
  readonly id: string;
  readonly tenant: string;
  readonly bytes: number;
  readonly filename: string;
  readonly purpose: "batch" | "batch_output";
  /** Seconds since 1970. */
  readonly created_at: number;
  readonly expires_at: number | null;
}

const purposes: readonly unknown[] = ["batch", "batch_output"] satisfies FileRecord["purpose"][];

function isFileRecord(value: unknown): value is FileRecord {
  if (!isObject(value)) return false;
  const { id, tenant, bytes, filename, purpose, created_at, expires_at } = value;
  return (
    [id, tenant, filename].every((field) => typeof field === "string") &&
    [bytes, created_at, expires_at ?? 0].every(Number.isFinite) &&
    expires_at !== undefined &&
    purposes.includes(purpose)
  );
}

/** Remainders of uploads that a crash cut off go after this time; younger ones may be another server's. */
const spoolMs = 24 * 3600 * 1000;

export class FileStore {
  readonly #records: Records<FileRecord>;
  readonly #spool: string;
  readonly #now: () => number;
  #bytes = 0;

  private constructor(folder: string, now: () => number) {
    this.#records = new Records(join(folder, "files"), isFileRecord);
    this.#spool = join(folder, "spool");
    this.#now = now;
  }

  static async open(folder: string, now: () => number): Promise<FileStore> {
    const store = new FileStore(folder, now);
    await mkdir(store.#spool, { recursive: true, mode: 0o700 });
    for (const name of await readdir(store.#spool)) {
      const path = join(store.#spool, name);
      const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: 0 }));
      if (Date.now() - mtimeMs > spoolMs) await rm(path, { force: true });
    }
    for await (const record of store.#records.all()) store.#bytes += record.bytes;
    return store;
  }

  /** Of all files, as far as this server knows. */
  get storedBytes(): number {
    return this.#bytes;
  }

  newId(): string {
    return newRecordId("file-", this.#now());
  }

  /** Where an upload is written while it comes in. */
  spoolPath(id: string): string {
    return join(this.#spool, id);
  }

  contentPath(tenant: string, id: string): string {
    return this.#records.pathOf(tenant, `${id}.bin`);
  }

  /** Where the file's content will be, its folder made. */
  async prepare(tenant: string, id: string): Promise<string> {
    await mkdir(this.#records.pathOf(tenant, ""), { recursive: true, mode: 0o700 });
    return this.contentPath(tenant, id);
  }

  async discard(id: string): Promise<void> {
    await rm(this.spoolPath(id), { force: true });
  }

  /** Takes a spooled upload in. */
  async adopt(record: FileRecord): Promise<void> {
    await rename(this.spoolPath(record.id), await this.prepare(record.tenant, record.id));
    await this.register(record);
  }

  /** Makes a file of what lies at `path`, unless it has been made before; nothing when that is no longer there, since then it has been, too. */
  async take(record: Omit<FileRecord, "bytes">, path: string): Promise<void> {
    try {
      await link(path, await this.prepare(record.tenant, record.id));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return;
      if (code !== "EEXIST") throw error;
    }
    const found = await stat(this.contentPath(record.tenant, record.id)).catch(nullIfGone);
    if (found !== null) await this.register({ ...record, bytes: found.size });
  }

  /** Lets clients see a file whose content is in its place. */
  async register(record: FileRecord): Promise<void> {
    if (await this.#records.create(record)) this.#bytes += record.bytes;
  }

  async find(tenant: string, id: string): Promise<FileRecord | null> {
    const record = await this.#records.read(tenant, id);
    return record === null || this.#isExpired(record) ? null : record;
  }

  /** Opened: whoever deletes it from now on does not take it away from its reader. Null when it has been deleted. */
  async read(record: FileRecord): Promise<ReadStream | null> {
    const handle = await open(this.contentPath(record.tenant, record.id)).catch(nullIfGone);
    return handle === null ? null : handle.createReadStream();
  }

  /** @returns false when somebody else has removed it meanwhile. */
  async remove(record: FileRecord): Promise<boolean> {
    const isRemoved = await this.#records.remove(record.tenant, record.id);
    await rm(this.contentPath(record.tenant, record.id), { force: true });
    if (isRemoved) this.#bytes -= record.bytes;
    return isRemoved;
  }

  async ids(tenant: string): Promise<string[]> {
    return this.#records.ids(tenant);
  }

  /** Removes what has expired, and what writers have left that were cut off. */
  async sweep(): Promise<void> {
    await this.#records.sweep(spoolMs);
    for await (const record of this.#records.all()) if (this.#isExpired(record)) await this.remove(record);
  }

  #isExpired({ expires_at }: FileRecord): boolean {
    return expires_at !== null && expires_at * 1000 <= this.#now();
  }
}

function nullIfGone(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

export function showFile(record: FileRecord): object {
  const { id, bytes, created_at, filename, purpose, expires_at } = record;
  return {
    id,
    object: "file",
    bytes,
    created_at,
    ...(expires_at === null ? {} : { expires_at }),
    filename,
    purpose,
    status: "processed",
  };
}
