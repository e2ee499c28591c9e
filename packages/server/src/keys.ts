/**
 * The file of API keys: only their hashes are kept. Written as a whole beside the old one and renamed, so that it is never half a file.
 * Knows nothing of requests.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { mkdir, open, readFile, rename, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { isObject } from "./fields.ts";

/** What a key allows; absent: no limit of its own. */
export interface KeyLimits {
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
  /** Requests at once, running or waiting. */
  readonly concurrent?: number;
}

export interface KeyRecord {
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** Keys of one tenant share caches and stored answers. */
  readonly tenant: string;
  /** SHA-256 of the key, hexadecimal. Keys have 256 random bits, so that a slow hash would add nothing. */
  readonly hash: string;
  readonly createdAt: string;
  readonly limits: KeyLimits;
}

export function defaultKeysFile(): string {
  const base = process.env.XDG_CONFIG_HOME || join(homedir(), ".config");
  return join(base, "bitnet", "keys.json");
}

/** @throws BitNetError FORMAT_INVALID for a file that is no file of keys; none for one that does not exist: it holds no keys. */
export async function readKeys(file: string): Promise<readonly KeyRecord[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new BitNetError("IO_FAILED", `${file}: the keys cannot be read`, { cause });
  }
  const fail = (): never => {
    throw new BitNetError("FORMAT_INVALID", `${file}: this is not a file of keys as "bitnet keys" writes it`);
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail();
  }
  const list = isObject(value) && Array.isArray(value.keys) ? (value.keys as unknown[]) : fail();
  return list.map((entry) => (isRecord(entry) ? entry : fail()));
}

function isRecord(entry: unknown): entry is KeyRecord {
  if (!isObject(entry) || !isObject(entry.limits)) return false;
  const { id, name, tenant, hash, createdAt } = entry;
  const isLimit = (value: unknown) => Number.isSafeInteger(value) && (value as number) > 0;
  return (
    [id, name, tenant, createdAt].every((field) => typeof field === "string") &&
    typeof hash === "string" &&
    /^[0-9a-f]{64}$/.test(hash) &&
    Object.values(entry.limits).every(isLimit)
  );
}

async function writeKeys(file: string, keys: readonly KeyRecord[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const next = `${file}.${randomBytes(6).toString("hex")}`;
  const handle = await open(next, "wx", 0o600);
  try {
    await handle.writeFile(`${JSON.stringify({ version: 1, keys }, null, 2)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(next, file);
}

/** @returns The record, and the key itself, which nobody can find out later. */
export async function createKey(
  file: string,
  options: { name: string; tenant?: string | undefined; limits: KeyLimits },
): Promise<{ record: KeyRecord; key: string }> {
  const key = `bnk_${randomBytes(32).toString("base64url")}`;
  const id = `key_${randomBytes(6).toString("hex")}`;
  const record: KeyRecord = {
    id,
    name: options.name,
    tenant: options.tenant ?? id,
    hash: hashOf(key).toString("hex"),
    createdAt: new Date().toISOString(),
    limits: options.limits,
  };
  await writeKeys(file, [...(await readKeys(file)), record]);
  return { record, key };
}

/** @throws BitNetError INVALID_ARGUMENT when there is no such key. */
export async function revokeKey(file: string, id: string): Promise<void> {
  const keys = await readKeys(file);
  const rest = keys.filter((key) => key.id !== id);
  if (rest.length === keys.length)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `keys: there is no key ${JSON.stringify(id.slice(0, 80))} in ${file}`,
    );
  await writeKeys(file, rest);
}

function hashOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** How long a revoked key may go on being accepted. */
const recheckMs = 1000;

/** The keys of a running server; follows changes of the file. */
export class KeyRing {
  readonly #file: string;
  #keys: readonly { record: KeyRecord; hash: Buffer }[] = [];
  #stamp = "";
  #checkedAt = Number.NEGATIVE_INFINITY;

  private constructor(file: string) {
    this.#file = file;
  }

  static async open(file: string): Promise<KeyRing> {
    const ring = new KeyRing(file);
    await ring.#refresh();
    return ring;
  }

  get size(): number {
    return this.#keys.length;
  }

  /** The record of a key, or null. All are compared, each in constant time. */
  async find(key: string): Promise<KeyRecord | null> {
    await this.#refresh();
    const hash = hashOf(key);
    let found: KeyRecord | null = null;
    for (const each of this.#keys) if (timingSafeEqual(each.hash, hash)) found = each.record;
    return found;
  }

  /** A file that has become unreadable leaves the keys as they were. */
  async #refresh(): Promise<void> {
    if (performance.now() - this.#checkedAt < recheckMs) return;
    const isFirst = this.#checkedAt === Number.NEGATIVE_INFINITY;
    this.#checkedAt = performance.now();
    try {
      const { mtimeMs, size, ino } = await stat(this.#file).catch(() => ({ mtimeMs: 0, size: 0, ino: 0 }));
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (stamp === this.#stamp) return;
      const records = await readKeys(this.#file);
      this.#keys = records.map((record) => ({ record, hash: Buffer.from(record.hash, "hex") }));
      this.#stamp = stamp;
    } catch (error) {
      if (isFirst) throw error;
    }
  }
}
