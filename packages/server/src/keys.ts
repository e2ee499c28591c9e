/** API keys: how they are made and taken back, and those of a running server. Knows nothing of requests, nor of where keys are kept. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { homedir } from "node:os";
import { join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import type { KeyLimits, KeyRecord, KeyStore } from "./key-store.ts";

export function defaultKeysFile(): string {
  const base = process.env.XDG_CONFIG_HOME || join(homedir(), ".config");
  return join(base, "bitnet", "keys.json");
}

/** @returns The record, and the key itself, which nobody can find out later. */
export async function createKey(
  store: KeyStore,
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
  await store.add(record);
  return { record, key };
}

/** @throws BitNetError INVALID_ARGUMENT when there is no such key. */
export async function revokeKey(store: KeyStore, id: string): Promise<void> {
  if (await store.remove(id)) return;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `keys: there is no key ${JSON.stringify(id.slice(0, 80))} in ${store.name}`,
  );
}

function hashOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** How long a revoked key may go on being accepted, where its store can be asked. */
const recheckMs = 1000;

/** The keys of a running server; follows changes of their store. */
export class KeyRing {
  readonly #store: KeyStore;
  readonly #clock: () => number;
  #keys: readonly { record: KeyRecord; hash: Buffer }[] = [];
  #stamp: string | null = null;
  #checkedAt = Number.NEGATIVE_INFINITY;

  private constructor(store: KeyStore, clock: () => number) {
    this.#store = store;
    this.#clock = clock;
  }

  /**
   * @param clock Milliseconds, monotonic.
   * @throws BitNetError IO_FAILED where the store cannot be asked: a server that does not know its keys yet cannot serve.
   */
  static async open(store: KeyStore, clock: () => number = () => performance.now()): Promise<KeyRing> {
    const ring = new KeyRing(store, clock);
    await ring.#follow();
    if (ring.#stamp === null) await store.read();
    ring.#checkedAt = clock();
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

  /** A store that cannot be read leaves the keys as they were. */
  async #refresh(): Promise<void> {
    if (this.#clock() - this.#checkedAt < recheckMs) return;
    this.#checkedAt = this.#clock();
    await this.#follow().catch(() => {});
  }

  #isForgotten(stamp: string): boolean {
    if (this.#stamp === null || this.#keys.length === 0) return false;
    return this.#store.hasForgotten?.(this.#stamp, stamp) ?? false;
  }

  async #follow(): Promise<void> {
    let stamp = await this.#store.stamp();
    if (stamp === null || stamp === this.#stamp) return;
    if (this.#isForgotten(stamp)) {
      await this.#store.restore?.(this.#keys.map(({ record }) => record));
      stamp = await this.#store.stamp();
      // Whoever has forgotten everything knows of no key that was revoked.
      if (stamp === null || stamp === "") return;
    }
    const records = await this.#store.read();
    this.#keys = records.map((record) => ({ record, hash: Buffer.from(record.hash, "hex") }));
    this.#stamp = stamp;
  }
}
