/**
 * Who may work on what: a lease is held by one server at a time and lost when it dies. Without Redis there is one server, which gets
 * every lease. Knows nothing of what is leased.
 */

export interface Held {
  /** Once lost, what it covers is somebody else's. */
  readonly isLost: boolean;
  /** A former holder may still be about, not knowing that it has lost it. */
  readonly mayBeStale: boolean;
  release(): Promise<void>;
}

export interface Leases {
  /** Null while somebody else holds it, or nobody can tell. */
  acquire(name: string): Promise<Held | null>;
}

export function createLocalLeases(): Leases {
  const held = new Set<string>();
  return {
    async acquire(name) {
      if (held.has(name)) return null;
      held.add(name);
      return {
        isLost: false,
        mayBeStale: false,
        async release() {
          held.delete(name);
        },
      };
    },
  };
}
