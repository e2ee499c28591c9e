/**
 * A map that forgets: bounded by bytes and age, what has rested longest goes first. Where entries have owners, the one who holds most gives up
 * its own, so that none can drive out another's. Knows nothing of what it keeps.
 */

interface CacheLimits {
  /** Of all entries together, as their owners count them. */
  maxBytes: number;
  maxAgeMs: number;
}

export interface CacheStats {
  entries: number;
  bytes: number;
  hits: number;
  misses: number;
}

interface Entry<T> {
  readonly value: T;
  readonly bytes: number;
  readonly owner: string;
  readonly at: number;
}

export class BoundedCache<T> {
  readonly #limits: CacheLimits;
  readonly #clock: () => number;
  /** The least recently used first. */
  readonly #entries = new Map<string, Entry<T>>();
  /** Bytes by owner. */
  readonly #shares = new Map<string, number>();
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  /** @param clock Milliseconds, monotonic. */
  constructor(limits: CacheLimits, clock: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#clock = clock;
  }

  get stats(): CacheStats {
    return { entries: this.#entries.size, bytes: this.#bytes, hits: this.#hits, misses: this.#misses };
  }

  find(key: string): T | undefined {
    const entry = this.#entries.get(key);
    const isFresh = entry !== undefined && this.#clock() - entry.at < this.#limits.maxAgeMs;
    if (!isFresh) {
      this.#misses++;
      this.delete(key);
      return undefined;
    }
    this.#hits++;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** Keeps a value, unless it is larger than the whole cache may be. */
  keep(key: string, value: T, { bytes, owner = "" }: { bytes: number; owner?: string }): void {
    this.delete(key);
    if (bytes > this.#limits.maxBytes) return;
    this.#entries.set(key, { value, bytes, owner, at: this.#clock() });
    this.#count(owner, bytes);
    while (this.#bytes > this.#limits.maxBytes) {
      const oldest = this.#oldestOf(this.#largestOwner());
      if (oldest === undefined) return;
      this.delete(oldest);
    }
  }

  #count(owner: string, bytes: number): void {
    const share = (this.#shares.get(owner) ?? 0) + bytes;
    if (share > 0) this.#shares.set(owner, share);
    else this.#shares.delete(owner);
    this.#bytes += bytes;
  }

  #largestOwner(): string | undefined {
    let largest: string | undefined;
    for (const [owner, bytes] of this.#shares)
      if (largest === undefined || bytes > (this.#shares.get(largest) ?? 0)) largest = owner;
    return largest;
  }

  #oldestOf(owner: string | undefined): string | undefined {
    for (const [key, entry] of this.#entries) if (entry.owner === owner) return key;
    return undefined;
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#count(entry.owner, -entry.bytes);
  }

  clear(): void {
    this.#entries.clear();
    this.#shares.clear();
    this.#bytes = 0;
  }
}
