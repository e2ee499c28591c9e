/** How many answers are kept for equal requests, and for how long. */

export interface CacheSettings {
  /** 0: nothing is kept. */
  maxBytes: number;
  maxAgeMs: number;
}

export const defaultCacheSettings: CacheSettings = { maxBytes: 64 * 2 ** 20, maxAgeMs: 3_600_000 };
