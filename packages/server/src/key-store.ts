/**
 * Where API keys are kept: in a file, or wherever servers share them. Only their hashes are. The file is written as a whole beside the
 * old one and renamed, so that it is never half a file, by one writer at a time. Knows nothing of requests.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { acquireLock, type Lock } from "@bitnet.ts/core/node";
import { isObject } from "./fields.ts";
import { writeDurably } from "./store/write-durably.ts";

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

export interface KeyStore {
  /** For messages. */
  readonly name: string;
  /** Another one whenever the keys are others. Null: nobody can tell now; "": there have never been any. */
  stamp(): Promise<string | null>;
  /** @throws BitNetError IO_FAILED, or FORMAT_INVALID for what are no keys. */
  read(): Promise<readonly KeyRecord[]>;
  add(record: KeyRecord): Promise<void>;
  /** @returns Whether there was one. */
  remove(id: string): Promise<boolean>;
  /** Whether the store has lost its memory between two stamps. */
  hasForgotten?(before: string, now: string): boolean;
  /** Puts keys back into a store that has forgotten them, but for those that were revoked since. */
  restore?(known: readonly KeyRecord[]): Promise<void>;
}

/** Keys in a file. One that does not exist holds none. */
export function fileKeys(file: string): KeyStore {
  const read = async () => {
    let text: string;
    try {
      text = await readFile(file, "utf8");
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw new BitNetError("IO_FAILED", `${file}: the keys cannot be read`, { cause });
    }
    return parseKeys(text, file);
  };
  return {
    name: file,
    read,
    async stamp() {
      const { mtimeMs, size, ino } = await stat(file).catch(() => ({ mtimeMs: 0, size: 0, ino: 0 }));
      return `${mtimeMs} ${size} ${ino}`;
    },
    add: (record) => alone(file, async () => writeKeys(file, [...(await read()), record])),
    remove: (id) =>
      alone(file, async () => {
        const keys = await read();
        const rest = keys.filter((key) => key.id !== id);
        if (rest.length < keys.length) await writeKeys(file, rest);
        return rest.length < keys.length;
      }),
  };
}

/** @param name Of where they come from. */
export function parseKeys(text: string, name: string): readonly KeyRecord[] {
  const fail = (): never => {
    throw new BitNetError("FORMAT_INVALID", `${name}: these are not keys as "bitnet keys" writes them`);
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
  const next = `${file}.${randomBytes(6).toString("hex")}`;
  await writeDurably(next, `${JSON.stringify({ version: 1, keys }, null, 2)}\n`);
  await rename(next, file);
}

/** Two who read, change and write would lose what one of them wrote. */
async function alone<T>(file: string, act: () => Promise<T>): Promise<T> {
  let lock: Lock | null;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    lock = await acquireLock(`${file}.lock`, { pollMs: 10 });
  } catch (cause) {
    throw new BitNetError("IO_FAILED", `${file}: the keys cannot be written`, { cause });
  }
  try {
    return await act();
  } finally {
    await lock?.release();
  }
}
