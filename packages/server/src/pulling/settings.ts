/** Which models clients may bring here from a hub. */

export interface PullSettings {
  /** `owner/name`, `owner/*` or `*`; none: nobody may bring anything. */
  readonly allowed: readonly string[];
  /** Bytes that the hub's cache may hold, with what is there already. */
  readonly maxCacheBytes: number;
}

export const defaultPullSettings: PullSettings = { allowed: [], maxCacheBytes: 32 * 2 ** 30 };
