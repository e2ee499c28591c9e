/**
 * Records as JSON files, a folder per tenant: each is written beside its place and renamed, so that readers, also those of other
 * servers on the same folder, see it whole. Their ids sort by the time they were made. Knows nothing of what is in them.
 */
import { createHash, randomBytes } from "node:crypto";
import { link, mkdir, readdir, readFile, rename, rm, stat, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { writeDurably } from "./write-durably.ts";

let lastStamp = 0;

/** `file-<time><random>`: later ones sort after earlier ones, within a process also those of one millisecond. */
export function newRecordId(prefix: string, now: number): string {
  lastStamp = Math.max(lastStamp + 1, Math.floor(now) * 1000);
  return `${prefix}${lastStamp.toString(16).padStart(14, "0")}${randomBytes(8).toString("hex")}`;
}

const idPattern = /^[a-z]+[-_][0-9a-f]{30}$/;

export function isRecordId(id: string): boolean {
  return idPattern.test(id);
}

/** Tenants are named by people; folders are not. */
export function tenantFolder(tenant: string): string {
  return createHash("sha256").update(tenant).digest("hex").slice(0, 32);
}

export class Records<T extends { readonly id: string; readonly tenant: string }> {
  readonly #path: string;
  readonly #isRecord: (value: unknown) => value is T;
  readonly #ending: string;

  /**
   * @param isRecord What is no such record counts as none, as does one that lies in the place of another.
   * @param ending Of the files' names: several kinds of records of one thing lie beside each other.
   */
  constructor(path: string, isRecord: (value: unknown) => value is T, ending = ".json") {
    this.#path = path;
    this.#isRecord = isRecord;
    this.#ending = ending;
  }

  /** Where files that belong to a record lie. */
  pathOf(tenant: string, name: string): string {
    return join(this.#path, tenantFolder(tenant), name);
  }

  async read(tenant: string, id: string): Promise<T | null> {
    if (!isRecordId(id)) return null;
    return this.#readIn(join(this.#path, tenantFolder(tenant)), id);
  }

  async write(record: T): Promise<void> {
    const part = await this.#writePart(record);
    await rename(part, this.#pathOfRecord(record.tenant, record.id));
  }

  /** @returns false, and writes nothing, when there is one already. */
  async create(record: T): Promise<boolean> {
    const part = await this.#writePart(record);
    try {
      await link(part, this.#pathOfRecord(record.tenant, record.id));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      if ((await this.read(record.tenant, record.id)) !== null) return false;
      await rename(part, this.#pathOfRecord(record.tenant, record.id)); // a damaged one counts as none
      return true;
    } finally {
      await rm(part, { force: true });
    }
  }

  /** @returns false when there was none. */
  async remove(tenant: string, id: string): Promise<boolean> {
    try {
      // Of several at a time, one.
      await unlink(this.#pathOfRecord(tenant, id));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    }
  }

  /** Oldest first. */
  async ids(tenant: string): Promise<string[]> {
    const names = await readdir(join(this.#path, tenantFolder(tenant))).catch(() => [] as string[]);
    return this.#idsIn(names);
  }

  /** Removes what writers have left that were cut off longer ago than this. */
  async sweep(ms: number): Promise<void> {
    for (const folder of await this.folders())
      for (const name of await readdir(folder)) {
        const path = join(folder, name);
        if (name.endsWith(".part") && (await isOlder(path, ms))) await rm(path, { force: true });
      }
  }

  /** Of all tenants. */
  async folders(): Promise<string[]> {
    return (await readdir(this.#path).catch(() => [] as string[])).map((name) => join(this.#path, name));
  }

  /** Every record of every tenant. */
  async *all(): AsyncGenerator<T> {
    for (const folder of await this.folders())
      for (const id of this.#idsIn(await readdir(folder).catch(() => []))) {
        const record = await this.#readIn(folder, id);
        if (record !== null) yield record;
      }
  }

  async #readIn(folder: string, id: string): Promise<T | null> {
    const value = await readJson(join(folder, `${id}${this.#ending}`));
    if (!this.#isRecord(value)) return null;
    return value.id === id && tenantFolder(value.tenant) === basename(folder) ? value : null;
  }

  #pathOfRecord(tenant: string, id: string): string {
    return this.pathOf(tenant, `${id}${this.#ending}`);
  }

  #idsIn(names: readonly string[]): string[] {
    const { length } = this.#ending;
    return names
      .filter((name) => name.endsWith(this.#ending) && isRecordId(name.slice(0, -length)))
      .map((name) => name.slice(0, -length))
      .sort();
  }

  async #writePart(record: T): Promise<string> {
    await mkdir(this.pathOf(record.tenant, ""), { recursive: true, mode: 0o700 });
    const part = this.pathOf(record.tenant, `.${record.id}.${randomBytes(6).toString("hex")}.part`);
    await writeDurably(part, JSON.stringify(record));
    return part;
  }
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/**
 * By the clock of the disk; what is not there is not old.
 * @param time Of what: when it was written, or when anything of it changed last, its name included.
 */
export async function isOlder(
  path: string,
  ms: number,
  time: "mtimeMs" | "ctimeMs" = "mtimeMs",
): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found !== null && Date.now() - found[time] > ms;
}
