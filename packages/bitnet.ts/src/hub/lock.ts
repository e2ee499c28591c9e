/**
 * One process at a time downloads a file; others wait for it. A lock is a file made with its content in one step (a link); its owner
 * touches it while it works. It is void when its process is gone from this machine or has not touched it for a minute. Whoever is
 * wrong about that does no harm: what is downloaded is verified before it gets its name.
 */
import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { throwIfAborted } from "@bitnet.ts/core";
import { isProcessAlive } from "@bitnet.ts/core/node";

export interface LockOptions {
  signal?: AbortSignal | undefined;
  /** Called once when another process holds the lock. */
  onWait?: () => void;
  /** True when there is nothing left to do: the other process has finished. */
  isDone?: () => Promise<boolean>;
  /** Between looks at a lock that is held; default 250. */
  pollMs?: number;
}

export interface Lock {
  release(): Promise<void>;
}

const touchMs = 5_000;
const voidAfterMs = 60_000;

/** Null when `isDone` became true while another process held the lock. @throws BitNetError ABORTED. */
export async function acquireLock(path: string, options: LockOptions = {}): Promise<Lock | null> {
  const own = `${path}.${randomUUID()}`;
  const content = JSON.stringify({ pid: process.pid, host: hostname(), id: own.slice(path.length + 1) });
  let hasWaited = false;
  try {
    await writeFile(own, content, { flag: "wx" });
    for (;;) {
      throwIfAborted(options.signal);
      if (await isMade(own, path)) return held(path, content);
      if (await options.isDone?.()) return null;
      if (await removeVoid(path)) continue;
      if (!hasWaited) options.onWait?.();
      hasWaited = true;
      await pause(options.pollMs ?? 250, undefined, options.signal ? { signal: options.signal } : {}).catch(
        () => {},
      );
    }
  } finally {
    await rm(own, { force: true });
  }
}

/** Links `own` to the lock's name; where a disk knows no links, writes the lock anew. */
async function isMade(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EMLINK"].includes(code ?? "")) throw error;
  }
  try {
    await writeFile(path, await readFile(own), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function held(path: string, content: string): Lock {
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {}); // gone: somebody took this process for dead
  }, touchMs);
  timer.unref();
  return {
    async release() {
      clearInterval(timer);
      if ((await readFile(path, "utf8").catch(() => "")) === content) await rm(path, { force: true });
    },
  };
}

/** Removes a lock that is void. True when it is gone. */
async function removeVoid(path: string): Promise<boolean> {
  const seen = await readFile(path, "utf8").catch(() => null);
  if (seen === null) return true;
  if (!(await isVoid(path, seen))) return false;
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return true;
  }
  // Between the look and the renaming another process may have taken it over: then it gets it back.
  const taken = await readFile(aside, "utf8").catch(() => seen);
  if (taken !== seen) await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
  return taken === seen;
}

async function isVoid(path: string, content: string): Promise<boolean> {
  const touched = await stat(path).catch(() => null);
  if (touched === null) return true;
  if (Date.now() - touched.mtimeMs > voidAfterMs) return true;
  const { pid, host } = parseOwner(content);
  return host === hostname() && pid !== null && !isProcessAlive(pid);
}

function parseOwner(content: string): { pid: number | null; host: string } {
  try {
    const { pid, host } = JSON.parse(content) as { pid?: unknown; host?: unknown };
    return { pid: Number.isSafeInteger(pid) ? (pid as number) : null, host: String(host) };
  } catch {
    return { pid: null, host: "" };
  }
}
