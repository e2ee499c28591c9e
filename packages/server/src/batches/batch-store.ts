/**
 * The records of batches, which of them have not ended, and what clients have asked of them. A batch's record is written by whoever
 * holds its lease, or takes itself for its holder; wishes of clients are files of their own beside it, so that any server may take them.
 * How a batch ends is decided once: whoever is first says with which journals, and others, who may have gone on in copies, follow.
 */
import { createHash, randomBytes } from "node:crypto";
import { link, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isObject } from "../fields.ts";
import { isOlder, isRecordId, newRecordId, Records, tenantFolder } from "../store/records.ts";
import { type BatchRecord, isBatchRecord } from "./batch-record.ts";

const journalKinds = ["output", "error"] as const;
type JournalKind = (typeof journalKinds)[number];

export interface BatchEnd {
  readonly id: string;
  readonly tenant: string;
  /** As it will be shown. */
  readonly record: BatchRecord;
  /** Names of what its files will be made of, beside the record; null: there is no such file. */
  readonly journals: Readonly<Record<JournalKind, string | null>>;
}

function isBatchEnd(value: unknown): value is BatchEnd {
  if (!isObject(value) || !isBatchRecord(value.record) || !isObject(value.journals)) return false;
  const { id, tenant, record, journals } = value;
  const isOwn = (name: unknown) =>
    name === null || (typeof name === "string" && /^\w+\.(output|error)-\w+$/.test(name));
  return record.id === id && record.tenant === tenant && journalKinds.every((kind) => isOwn(journals[kind]));
}

/** A marker is made just before its record; without one after so long, that never happened. */
const orphanMs = 60_000;
const claimMs = 24 * 3600 * 1000;

export class BatchStore {
  readonly #records: Records<BatchRecord>;
  readonly #decided: Records<BatchEnd>;
  /** Written once, and before all others. */
  readonly #ended: Records<BatchRecord>;
  readonly #active: string;
  readonly #claims: string;
  readonly #now: () => number;

  private constructor(folder: string, now: () => number) {
    this.#records = new Records(join(folder, "batches"), isBatchRecord);
    this.#decided = new Records(join(folder, "batches"), isBatchEnd, ".decided");
    this.#ended = new Records(join(folder, "batches"), isBatchRecord, ".ended");
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

  /** @param input The file it is made of, which may be deleted afterwards. @throws ENOENT when it has been before: then nothing is left. */
  async create(record: BatchRecord, input: string): Promise<void> {
    await mkdir(this.#records.pathOf(record.tenant, ""), { recursive: true, mode: 0o700 });
    await link(input, this.inputPath(record)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    await writeFile(join(this.#active, record.id), JSON.stringify(record.tenant), { mode: 0o600 });
    await this.#records.create(record);
  }

  async find(tenant: string, id: string): Promise<BatchRecord | null> {
    return (await this.#ended.read(tenant, id)) ?? (await this.#records.read(tenant, id));
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

  /** Where the journal of a batch lies until it ends. */
  journalPath({ tenant, id }: BatchRecord, kind: JournalKind): string {
    return this.#records.pathOf(tenant, `${id}.${kind}`);
  }

  /**
   * Decides how a batch ends, unless that has been decided. @param journals Own names of its journals.
   * @returns What has been decided, by this call or an earlier one; null when the journals have been put away because the batch has ended.
   */
  async decide(
    record: BatchRecord,
    journals: Readonly<Record<JournalKind, string | null>>,
  ): Promise<BatchEnd | null> {
    const { id, tenant } = record;
    const token = randomBytes(6).toString("hex");
    const kept: Record<JournalKind, string | null> = { output: null, error: null };
    // Under names that nobody takes away before the files have been made.
    for (const kind of journalKinds) {
      const path = journals[kind];
      if (path === null) continue;
      const name = `${id}.${kind}-${token}`;
      try {
        await link(path, this.#records.pathOf(tenant, name));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        return this.decided(record);
      }
      kept[kind] = name;
    }
    await this.#decided.create({ id, tenant, record, journals: kept });
    return this.decided(record);
  }

  decided({ tenant, id }: BatchRecord): Promise<BatchEnd | null> {
    return this.#decided.read(tenant, id);
  }

  /** Where that lies which a file of its end is made of; null: there is no such file. */
  contentPath({ tenant, journals }: BatchEnd, kind: JournalKind): string | null {
    const name = journals[kind];
    return name === null ? null : this.#records.pathOf(tenant, name);
  }

  /** To be called when the files of its end are there. */
  async end({ record }: BatchEnd): Promise<void> {
    await this.#ended.create(record);
    await this.settle(record);
  }

  /** Removes the copies of journals that earlier holders have gone on in, but for those that decide. */
  async sweepCopies(record: BatchRecord, own: string): Promise<void> {
    for (const path of await this.#journalFiles(record))
      if (/\.(output|error)\.\w+$/.test(path) && !path.endsWith(own)) await rm(path, { force: true });
  }

  /** Batches that have not ended, oldest first. */
  async active(): Promise<BatchRecord[]> {
    const found: BatchRecord[] = [];
    for (const id of (await readdir(this.#active)).filter(isRecordId).sort()) {
      const marker = join(this.#active, id);
      const tenant = await readMarker(marker);
      const record = tenant === null ? null : await this.find(tenant, id);
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

  /** Removes what only a batch needs that has not ended. */
  async settle(record: BatchRecord): Promise<void> {
    for (const path of await this.#journalFiles(record)) await rm(path, { force: true });
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
    const own: Claim = { id: wanted.id, request: hash(wanted.request) };
    if (await isOlder(path, claimMs)) await rm(path, { force: true });
    const part = `${path}.${wanted.id}`;
    await writeFile(part, JSON.stringify(own), { mode: 0o600 });
    try {
      for (;;) {
        try {
          await link(part, path);
          return { id: own.id, isSame: true };
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
        }
        const earlier = parseClaim(await readFile(path, "utf8"));
        if (earlier !== null) return { id: earlier.id, isSame: earlier.request === own.request };
        await rm(path, { force: true }); // claims appear whole: this one is damaged
      }
    } finally {
      await rm(part, { force: true });
    }
  }

  /** Removes claims that have run out, and what a server that was cut off has left of batches that have ended since. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#claims)) {
      const path = join(this.#claims, name);
      if (await isOlder(path, claimMs)) await rm(path, { force: true });
    }
    const active = new Set((await readdir(this.#active)).filter(isRecordId));
    for (const folder of await this.#records.folders())
      for (const name of await readdir(folder)) {
        const [, id = ""] = /^(\w+)\.(output|error|input|cancel)/.exec(name) ?? [];
        if (!isRecordId(id) || active.has(id)) continue;
        const path = join(folder, name);
        if (await isOlder(path, orphanMs)) await rm(path, { force: true });
      }
    await this.#records.sweep(orphanMs);
  }

  async #journalFiles({ tenant, id }: BatchRecord): Promise<string[]> {
    const names = await readdir(this.#records.pathOf(tenant, "")).catch(() => [] as string[]);
    return names
      .filter((name) => name.startsWith(`${id}.output`) || name.startsWith(`${id}.error`))
      .map((name) => this.#records.pathOf(tenant, name));
  }

  #cancelPath({ tenant, id }: BatchRecord): string {
    return this.#records.pathOf(tenant, `${id}.cancel`);
  }
}

interface Claim {
  readonly id: string;
  /** Hash of what was asked for. */
  readonly request: string;
}

function parseClaim(text: string): Claim | null {
  try {
    const { id, request } = Object(JSON.parse(text)) as Record<string, unknown>;
    return typeof id === "string" && typeof request === "string" ? { id, request } : null;
  } catch {
    return null;
  }
}

/** @returns The tenant that a marker names; null for one that is gone, or is being written, or was cut off in that. */
async function readMarker(path: string): Promise<string | null> {
  try {
    const tenant: unknown = JSON.parse(await readFile(path, "utf8"));
    return typeof tenant === "string" ? tenant : null;
  } catch {
    return null;
  }
}
