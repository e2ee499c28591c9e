/**
 * The folder in which a server keeps what must outlive it, and the lock that keeps a second server out of it, which is taken over when its
 * owner has died. Servers that share their work through Redis share the folder without a lock.
 */
import { mkdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { acquireLock, lockOwner } from "@bitnet.ts/core/node";

export interface DataFolder {
  readonly path: string;
  close(): Promise<void>;
}

/**
 * @param isShared Other servers may use it at the same time.
 * @throws BitNetError IO_FAILED when it cannot be made or is in use.
 */
export async function openDataFolder(path: string, isShared: boolean): Promise<DataFolder> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    if (isShared) return { path, async close() {} };
    return await lock(path);
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    throw new BitNetError(
      "IO_FAILED",
      `${path}: cannot be used as data folder (${(cause as NodeJS.ErrnoException).code ?? String(cause)})`,
      { cause },
    );
  }
}

async function lock(path: string): Promise<DataFolder> {
  const file = join(path, "lock");
  const lock = await acquireLock(file, { isDone: async () => true });
  if (lock !== null) return { path, close: () => lock.release() };
  const owner = await lockOwner(file);
  const elsewhere = owner?.host === hostname() ? "" : " on another machine";
  const shown = owner === null ? "which has not said its name" : `process ${owner.pid}${elsewhere}`;
  throw new BitNetError(
    "IO_FAILED",
    `${path}: another server uses this data folder (${shown}); end it, or name another folder with --data`,
  );
}
