/**
 * The records of batches, which of them have not ended, and what clients have asked of them. A batch's record is written by whoever
 * holds its lease; wishes of clients are files of their own beside it, so that any server may take them.
 */

import { createHash } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isRecordId, newRecordId, Records, tenantFolder } from "../store/records.ts";
import type { BatchRecord } from "./batch-record.ts";

/** A marker is made just before its record; without one after so long, that never happened. */
const orphanMs = 60_000;
const claimMs = 24 * 3600 * 1000;

export class BatchStore {
  readonly #records: Records<BatchRecord>;
  readonly #active: string;
  readonly #claims: string;
  readonly #now: () => number;

  private constructor(folder: string, now: () => number) {
    this.#records = new Records(join(folder, "batches"));
    this.#active = join(folder, "active");
    this.#claims = join(folder, "claims");
    this.#now = now;
  }

  static async open(folder: string, now: () => number): Promise<BatchStore> {
    const store = new BatchStore(folder, now);
    await mkdir(store.#active, { recursive: true, mode: 0o700 });
    await mkdir(store.#claims, { recursive: true, mode: 0o700 });
    return store;
  }

  newId(): string {
    return newRecordId("batch_", this.#now());
  }

  /** @param input The file it is made of, which may be deleted afterwards. */
  async create(record: BatchRecord, input: string): Promise<void> {
    await writeFile(join(this.#active, record.id), JSON.stringify(record.tenant), { mode: 0o600 });
    await mkdir(this.#records.pathOf(record.tenant, ""), { recursive: true, mode: 0o700 });
    await link(input, this.inputPath(record)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    await this.#records.create(record);
  }

  find(tenant: string, id: string): Promise<BatchRecord | null> {
    return this.#records.read(tenant, id);
  }

  save(record: BatchRecord): Promise<void> {
    return this.#records.write(record);
  }

  ids(tenant: string): Promise<string[]> {
    return this.#records.ids(tenant);
  }

  inputPath({ tenant, id }: BatchRecord): string {
    return this.#records.pathOf(tenant, `${id}.input`);
  }

  /** Batches that have not ended, oldest first. */
  async active(): Promise<BatchRecord[]> {
    const found: BatchRecord[] = [];
    for (const id of (await readdir(this.#active)).filter(isRecordId).sort()) {
      const marker = join(this.#active, id);
      const tenant = await readFile(marker, "utf8").then(JSON.parse, () => null);
      const record = typeof tenant === "string" ? await this.#records.read(tenant, id) : null;
      if (record !== null) found.push(record);
      else if (await isOlder(marker, orphanMs)) await rm(marker, { force: true });
    }
    return found;
  }

  async requestCancel(record: BatchRecord): Promise<void> {
    await writeFile(this.#cancelPath(record), "", { mode: 0o600 });
  }

  async isCancelRequested(record: BatchRecord): Promise<boolean> {
    return stat(this.#cancelPath(record)).then(
      () => true,
      () => false,
    );
  }

  /** To be called after the record of its end has been saved. */
  async settle(record: BatchRecord): Promise<void> {
    await rm(this.inputPath(record), { force: true });
    await rm(this.#cancelPath(record), { force: true });
    await rm(join(this.#active, record.id), { force: true });
  }

  /**
   * Reserves an idempotency key for a batch. @returns The id that the key stands for, this one or that of an earlier request, and
   * whether that asked for the same.
   */
  async claim(tenant: string, key: string, wanted: { id: string; request: string }) {
    const hash = (text: string) => createHash("sha256").update(text).digest("hex");
    const path = join(this.#claims, `${tenantFolder(tenant)}-${hash(key)}`);
    const own = { id: wanted.id, request: hash(wanted.request) };
    if (await isOlder(path, claimMs)) await rm(path, { force: true });
    const part = `${path}.${wanted.id}`;
    await writeFile(part, JSON.stringify(own), { mode: 0o600 });
    try {
      await link(part, path);
      return { id: own.id, isSame: true };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const earlier = JSON.parse(await readFile(path, "utf8")) as typeof own;
      return { id: earlier.id, isSame: earlier.request === own.request };
    } finally {
      await rm(part, { force: true });
    }
  }

  async sweep(): Promise<void> {
    for (const name of await readdir(this.#claims)) {
      const path = join(this.#claims, name);
      if (await isOlder(path, claimMs)) await rm(path, { force: true });
    }
  }

  openInput(record: BatchRecord) {
    return open(this.inputPath(record), "r");
  }

  #cancelPath({ tenant, id }: BatchRecord): string {
    return this.#records.pathOf(tenant, `${id}.cancel`);
  }
}

async function isOlder(path: string, ms: number): Promise<boolean> {
  const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
  return Date.now() - mtimeMs > ms;
}
