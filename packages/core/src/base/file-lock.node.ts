/**
 * Locks between processes, as files. A lock is a file made with its content in one step (a link), so that nobody ever reads half of one; its
 * owner touches it while it works. It is void when its process is gone from this machine or has not touched it for a minute. Only one of those
 * who find it void removes it, so that none removes the lock of who was faster.
 */
import { randomUUID } from "node:crypto";
import { link, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { throwIfAborted } from "./errors.ts";
import { isProcessAlive } from "./process-alive.node.ts";

export interface LockOptions {
  signal?: AbortSignal | undefined;
  /** Called once when another process holds the lock. */
  onWait?: () => void;
  /** Asked while another holds the lock. True when there is nothing left to do, or nobody wants to wait. */
  isDone?: () => Promise<boolean>;
  /** Between looks at a lock that is held; default 250. */
  pollMs?: number;
}

export interface Lock {
  release(): Promise<void>;
}

export interface LockOwner {
  readonly pid: number;
  readonly host: string;
}

const touchMs = 5_000;
const voidAfterMs = 60_000;

/** Contents of the locks of this very process: a pid alone does not tell them from those of a dead one that had the same number. */
const heldHere = new Set<string>();

/** Null when `isDone` became true while another process held the lock. @throws BitNetError ABORTED; the file system's error. */
export async function acquireLock(path: string, options: LockOptions = {}): Promise<Lock | null> {
  const own = `${path}.${randomUUID()}`;
  const content = JSON.stringify({ pid: process.pid, host: hostname(), id: own.slice(path.length + 1) });
  let hasWaited = false;
  heldHere.add(content);
  try {
    await writeFile(own, content, { flag: "wx", mode: 0o600 });
    for (;;) {
      throwIfAborted(options.signal);
      if (await isMade(own, path)) return held(path, content);
      if (await removeVoid(path, own)) continue;
      if (await options.isDone?.()) break;
      if (!hasWaited) options.onWait?.();
      hasWaited = true;
      await pause(options.pollMs ?? 250, undefined, options.signal ? { signal: options.signal } : {}).catch(
        () => {},
      );
    }
    heldHere.delete(content);
    return null;
  } catch (error) {
    heldHere.delete(content);
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

/** Whether somebody holds the lock. */
export async function isLocked(path: string): Promise<boolean> {
  const content = await readFile(path, "utf8").catch(() => null);
  return content !== null && !(await isVoid(path, content));
}

/** Who holds the lock, or held it last; null where that cannot be told. */
export async function lockOwner(path: string): Promise<LockOwner | null> {
  return readFile(path, "utf8").then(parseOwner, () => null);
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
    await writeFile(path, await readFile(own), { flag: "wx", mode: 0o600 });
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
      heldHere.delete(content);
    },
  };
}

/**
 * Removes a lock that is void. True when it is gone; false while somebody holds it, or is just removing it.
 * @param own Links to it stand for this process. @throws the file system's error: a lock that cannot be read is waited for by nobody.
 */
async function removeVoid(path: string, own: string): Promise<boolean> {
  const seen = await readFile(path, "utf8").catch(nullIfGone);
  if (seen === null) return true;
  if (!(await isVoid(path, seen))) return false;
  const guard = `${path}.void`;
  if (!(await isMade(own, guard))) {
    // Who made it died within a moment.
    if (await isSilent(guard)) await rm(guard, { force: true });
    return false;
  }
  try {
    // Before the guard stood, another may have removed it, and have one of its own.
    if ((await readFile(path, "utf8").catch(nullIfGone)) === seen) await rm(path, { force: true });
    return true;
  } finally {
    await rm(guard, { force: true });
  }
}

function nullIfGone(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

/** False for one that is gone: somebody has given it back. */
async function isVoid(path: string, content: string): Promise<boolean> {
  if (await isSilent(path)) return true;
  const owner = parseOwner(content);
  if (owner?.host !== hostname()) return false;
  return owner.pid === process.pid ? !heldHere.has(content) : !isProcessAlive(owner.pid);
}

async function isSilent(path: string): Promise<boolean> {
  const touched = await stat(path).catch(nullIfGone);
  return touched !== null && Date.now() - touched.mtimeMs > voidAfterMs;
}

function parseOwner(content: string): LockOwner | null {
  try {
    const { pid, host } = JSON.parse(content) as { pid?: unknown; host?: unknown };
    return Number.isSafeInteger(pid) && (pid as number) > 0 && typeof host === "string"
      ? { pid: pid as number, host }
      : null;
  } catch {
    return null;
  }
}
