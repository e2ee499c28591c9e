/**
 * The folder in which a server keeps what must outlive it, and the lock that keeps a second server out of it. The lock is a file that
 * names its owner; one whose owner has died is taken over. Servers that share their work through Redis share the folder without a lock.
 */
import { mkdir, open, readFile, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { isProcessAlive } from "@bitnet.ts/core/node";

/** The owner touches its lock this often; from another machine's lock, silence for three times as long means that it is dead. */
const touchMs = 10_000;

interface Owner {
  readonly pid: number;
  readonly host: string;
}

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
  const own = JSON.stringify({ pid: process.pid, host: hostname() } satisfies Owner);
  for (let attempt = 0; ; attempt++) {
    try {
      const handle = await open(file, "wx", 0o600);
      await handle.writeFile(own);
      await handle.close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || attempt === 3) throw error;
      const owner = await livingOwner(file);
      if (owner !== null)
        throw new BitNetError(
          "IO_FAILED",
          `${path}: another server uses this data folder (${owner}); end it, or name another folder with --data`,
        );
      await rm(file, { force: true });
    }
  }
  openHere.add(file);
  const timer = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => {}), touchMs);
  timer.unref();
  return {
    path,
    async close() {
      clearInterval(timer);
      openHere.delete(file);
      await rm(file, { force: true });
    },
  };
}

/** Locks of this very process: a pid alone does not tell them from those of a dead one that had the same number. */
const openHere = new Set<string>();

async function livingOwner(file: string): Promise<string | null> {
  const owner = await readFile(file, "utf8").then(parseOwner, () => null);
  if (owner === null) return null;
  const shown = `process ${owner.pid}`;
  if (owner.host === hostname()) {
    if (owner.pid === process.pid) return openHere.has(file) ? shown : null;
    return isProcessAlive(owner.pid) ? shown : null;
  }
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: 0 }));
  return Date.now() - mtimeMs < 3 * touchMs ? `${shown} on another machine` : null;
}

function parseOwner(text: string): Owner | null {
  try {
    const { pid, host } = JSON.parse(text) as Partial<Owner>;
    return Number.isSafeInteger(pid) && (pid as number) > 0 && typeof host === "string"
      ? { pid: pid as number, host }
      : null;
  } catch {
    return null;
  }
}
