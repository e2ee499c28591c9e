/** A map that forgets: bounded by bytes and age, what has rested longest goes first. Knows nothing of what it keeps. */

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
  readonly at: number;
}

export class BoundedCache<T> {
  readonly #limits: CacheLimits;
  readonly #clock: () => number;
  /** The least recently used first. */
  readonly #entries = new Map<string, Entry<T>>();
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
  keep(key: string, value: T, bytes: number): void {
    this.delete(key);
    if (bytes > this.#limits.maxBytes) return;
    this.#entries.set(key, { value, bytes, at: this.#clock() });
    this.#bytes += bytes;
    for (const [oldest] of this.#entries) {
      if (this.#bytes <= this.#limits.maxBytes) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }
}
