/**
 * Records as JSON files, a folder per tenant: each is written beside its place and renamed, so that readers, also those of other
 * servers on the same folder, see it whole. Their ids sort by the time they were made. Knows nothing of what is in them.
 */
import { createHash, randomBytes } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";

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

  constructor(path: string) {
    this.#path = path;
  }

  /** Where files that belong to a record lie. */
  pathOf(tenant: string, name: string): string {
    return join(this.#path, tenantFolder(tenant), name);
  }

  async read(tenant: string, id: string): Promise<T | null> {
    if (!isRecordId(id)) return null;
    const value = await readJson(this.pathOf(tenant, `${id}.json`));
    return value === null ? null : (value as T);
  }

  async write(record: T): Promise<void> {
    const part = await this.#writePart(record);
    await rename(part, this.pathOf(record.tenant, `${record.id}.json`));
  }

  /** @returns false, and writes nothing, when there is one already. */
  async create(record: T): Promise<boolean> {
    const part = await this.#writePart(record);
    try {
      await link(part, this.pathOf(record.tenant, `${record.id}.json`));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    } finally {
      await rm(part, { force: true });
    }
  }

  async remove(tenant: string, id: string): Promise<void> {
    await rm(this.pathOf(tenant, `${id}.json`), { force: true });
  }

  /** Oldest first. */
  async ids(tenant: string): Promise<string[]> {
    const names = await readdir(join(this.#path, tenantFolder(tenant))).catch(() => [] as string[]);
    return idsIn(names);
  }

  /** Every record of every tenant. */
  async *all(): AsyncGenerator<T> {
    for (const folder of await readdir(this.#path).catch(() => [] as string[]))
      for (const id of idsIn(await readdir(join(this.#path, folder)).catch(() => []))) {
        const value = await readJson(join(this.#path, folder, `${id}.json`));
        if (value !== null) yield value as T;
      }
  }

  async #writePart(record: T): Promise<string> {
    await mkdir(this.pathOf(record.tenant, ""), { recursive: true, mode: 0o700 });
    const part = this.pathOf(record.tenant, `.${record.id}.${randomBytes(6).toString("hex")}.part`);
    const handle = await open(part, "wx", 0o600);
    try {
      await handle.writeFile(JSON.stringify(record));
      await handle.datasync();
    } finally {
      await handle.close();
    }
    return part;
  }
}

function idsIn(names: readonly string[]): string[] {
  return names
    .filter((name) => name.endsWith(".json") && isRecordId(name.slice(0, -5)))
    .map((name) => name.slice(0, -5))
    .sort();
}

async function readJson(path: string): Promise<object | null> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as object;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
