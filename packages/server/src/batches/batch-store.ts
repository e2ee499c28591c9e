/**
 * The records of batches, which of them have not ended, and what clients have asked of them. A batch's record is written by whoever
 * holds its lease, or takes itself for its holder; wishes of clients are files of their own beside it, so that any server may take them.
 * How a batch ends is decided once: whoever is first says with which journals, and others, who may have gone on in copies, follow.
 */
import { createHash, randomBytes } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isObject } from "../fields.ts";
import { isOlder, isRecordId, newRecordId, Records, tenantFolder } from "../store/records.ts";
import { writeDurably } from "../store/write-durably.ts";
import { type BatchRecord, isBatchRecord, isEnded } from "./batch-record.ts";

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

/** What stands under an idempotency key. */
interface Claim {
  readonly id: string;
  /** Hash of it. */
  readonly request: string;
}

/** A marker is made just before its record; without one after so long, that never happened. */
const orphanMs = 60_000;
const claimMs = 24 * 3600 * 1000;
const guardMs = 10_000;

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

  /**
   * @param input The file it is made of, which may be deleted afterwards. @throws ENOENT when it has been before: then nothing is left.
   * @returns The batch, or that which another request has made under this id meanwhile.
   */
  async create(record: BatchRecord, input: string): Promise<BatchRecord> {
    await mkdir(this.#records.pathOf(record.tenant, ""), { recursive: true, mode: 0o700 });
    await isLinked(input, this.inputPath(record));
    await writeFile(join(this.#active, record.id), JSON.stringify(record.tenant), { mode: 0o600 });
    if (await this.#records.create(record)) return record;
    return (await this.find(record.tenant, record.id)) ?? record;
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

  /** @returns The batch as it is now: it may have ended meanwhile, and then nothing is left of the wish. */
  async requestCancel(record: BatchRecord): Promise<BatchRecord> {
    await writeFile(this.#cancelPath(record), "", { mode: 0o600 });
    const now = (await this.find(record.tenant, record.id)) ?? record;
    if (isEnded(now)) await this.settle(now);
    return now;
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
    const part = `${path}.${wanted.id}`;
    await writeDurably(part, JSON.stringify(own));
    try {
      for (;;) {
        if (await isLinked(part, path)) return { id: own.id, isSame: true };
        const earlier = await readClaim(path);
        if (earlier === "gone") continue;
        if (earlier !== null) return { id: earlier.id, isSame: earlier.request === own.request };
        await this.#removeVoid(path);
      }
    } finally {
      await rm(part, { force: true });
    }
  }

  /** Removes a claim that is void, one who finds it at a time: otherwise one could remove what another has put in its place. */
  async #removeVoid(path: string): Promise<void> {
    const guard = `${path}.void`;
    const handle = await open(guard, "wx", 0o600).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    if (handle === undefined) {
      // Whoever made it was cut off.
      if (await isOlder(guard, guardMs)) await rm(guard, { force: true });
      return;
    }
    try {
      await handle.close();
      if ((await readClaim(path)) === null) await rm(path, { force: true });
    } finally {
      await rm(guard, { force: true });
    }
  }

  /** Removes claims that have run out, and what a server that was cut off has left of batches that have ended since. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#claims)) {
      const path = join(this.#claims, name);
      if (!(await isOlder(path, claimMs))) continue;
      // What has an ending belongs to nobody any more.
      if (name.includes(".")) await rm(path, { force: true });
      else await this.#removeVoid(path);
    }
    const active = new Set((await readdir(this.#active)).filter(isRecordId));
    for (const folder of await this.#records.folders())
      for (const name of await readdir(folder)) {
        const [, id = ""] = /^(\w+)\.(output|error|input|cancel)/.exec(name) ?? [];
        if (!isRecordId(id) || active.has(id)) continue;
        const path = join(folder, name);
        // By when it got this name: the input of a batch that is just being made may have been uploaded long ago.
        if (await isOlder(path, orphanMs, "ctimeMs")) await rm(path, { force: true });
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

/** @returns The tenant that a marker names; null for one that is gone, or is being written, or was cut off in that. */
async function readMarker(path: string): Promise<string | null> {
  try {
    const tenant: unknown = JSON.parse(await readFile(path, "utf8"));
    return typeof tenant === "string" ? tenant : null;
  } catch {
    return null;
  }
}

/** Null for one that is void: it has run out, or a loss of power has left it empty. */
async function readClaim(path: string): Promise<Claim | null | "gone"> {
  const handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  if (handle === undefined) return "gone";
  try {
    const { mtimeMs } = await handle.stat();
    const { id, request } = JSON.parse(await handle.readFile("utf8")) as Partial<Claim>;
    const isWhole = typeof id === "string" && typeof request === "string";
    return isWhole && Date.now() - mtimeMs <= claimMs ? { id, request } : null;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return null;
    throw error;
  } finally {
    await handle.close();
  }
}

/** @returns false where there is such a name already. */
async function isLinked(path: string, name: string): Promise<boolean> {
  try {
    await link(path, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}
