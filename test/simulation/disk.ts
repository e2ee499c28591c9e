/**
 * A file system in memory that stalls, writes less than it is given, fails midway and loses power. Files are inodes: who has one open goes on
 * with it when its name is given to another. Operations of a process that has been killed never end, those of one that is frozen wait.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Chance } from "./chance.ts";
import type { SimulatedClock } from "./clock.ts";

interface Inode {
  bytes: Buffer;
  /** So much survives a loss of power. */
  nSynced: number;
  mtimeMs: number;
  ctimeMs: number;
}

/** Who opens files; what is open dies with it. */
export interface SimulatedProcess {
  isDead: boolean;
  /** Does nothing before this time. */
  frozenUntil?: number;
  /** Waits and fails never: a look from outside. */
  isWatcher?: boolean;
}

/** Whose operations these are, where several processes run at a time. */
export const running = new AsyncLocalStorage<SimulatedProcess>();

const failure = (code: string, message = code) => Object.assign(new Error(message), { code });

export class SimulatedDisk {
  readonly #clock: SimulatedClock;
  readonly #chance: Chance;
  readonly #files = new Map<string, Inode>();
  /** One operation in so many fails; 0: none. */
  failEvery: number;
  /** Whose operations come next. */
  process: SimulatedProcess = { isDead: false };
  /** Planted by a test: cutting files short does nothing. */
  ignoresTruncate = false;

  constructor(clock: SimulatedClock, chance: Chance, failEvery: number) {
    this.#clock = clock;
    this.#chance = chance;
    this.failEvery = failEvery;
  }

  textOf(path: string): string {
    return this.#files.get(path)?.bytes.toString("utf8") ?? "";
  }

  names(): string[] {
    return [...this.#files.keys()];
  }

  get #owner(): SimulatedProcess {
    return running.getStore() ?? this.process;
  }

  #create(path: string, bytes = Buffer.alloc(0)): Inode {
    const { now } = this.#clock;
    const inode = { bytes, nSynced: 0, mtimeMs: now, ctimeMs: now };
    this.#files.set(path, inode);
    return inode;
  }

  #existing(path: string): Inode {
    const inode = this.#files.get(path);
    if (inode === undefined) throw failure("ENOENT", `no such file: ${path}`);
    return inode;
  }

  /** What had not been synced is lost from some place on; now and then zeros stand for it. */
  losePower(): void {
    for (const inode of this.#files.values()) {
      const kept = this.#chance.int(inode.nSynced, inode.bytes.length);
      const zeros = Buffer.alloc(this.#chance.oneIn(3) ? inode.bytes.length - kept : 0);
      inode.bytes = Buffer.concat([inode.bytes.subarray(0, kept), zeros]);
      inode.nSynced = inode.bytes.length;
    }
  }

  /** The functions of node:fs/promises that batches and their journals use. Folders are where there are files. */
  readonly module = {
    open: async (path: string, flags = "r") => {
      const owner = this.#owner;
      await this.#pass(owner);
      if (flags === "wx" && this.#files.has(path)) throw failure("EEXIST");
      const inode = flags === "r" ? this.#existing(path) : (this.#files.get(path) ?? this.#create(path));
      return this.#handle(inode, owner);
    },
    copyFile: async (from: string, to: string) => {
      const owner = this.#owner;
      const inode = this.#existing(from);
      // As they were when it began: what is written meanwhile may be in it or not.
      const bytes = Buffer.from(inode.bytes);
      await this.#pass(owner);
      this.#create(to, bytes).nSynced = Math.min(inode.nSynced, bytes.length);
    },
    rename: async (from: string, to: string) => {
      await this.#pass(this.#owner);
      const inode = this.#existing(from);
      inode.ctimeMs = this.#clock.now;
      this.#files.set(to, inode);
      this.#files.delete(from);
    },
    link: async (from: string, to: string) => {
      await this.#pass(this.#owner);
      const inode = this.#existing(from);
      if (this.#files.has(to)) throw failure("EEXIST");
      inode.ctimeMs = this.#clock.now;
      this.#files.set(to, inode);
    },
    rm: async (path: string) => {
      const owner = this.#owner;
      if (running.getStore() !== undefined) await this.#pass(owner);
      this.#files.delete(path);
    },
    unlink: async (path: string) => {
      await this.#pass(this.#owner);
      if (!this.#files.delete(path)) throw failure("ENOENT", `no such file: ${path}`);
    },
    mkdir: async () => {},
    readdir: async (path: string) => {
      await this.#pass(this.#owner);
      const beginning = `${path.replace(/\/$/, "")}/`;
      const inside = [...this.#files.keys()].filter((name) => name.startsWith(beginning));
      return [...new Set(inside.map((name) => name.slice(beginning.length).split("/")[0] ?? ""))];
    },
    readFile: async (path: string) => {
      await this.#pass(this.#owner);
      return this.#existing(path).bytes.toString("utf8");
    },
    /** Seen by others before anything is in it. */
    writeFile: async (path: string, text: string) => {
      const owner = this.#owner;
      await this.#pass(owner);
      const inode = this.#create(path);
      await this.#pass(owner);
      inode.bytes = Buffer.from(text);
    },
    stat: async (path: string) => {
      await this.#pass(this.#owner);
      const { bytes, mtimeMs, ctimeMs } = this.#existing(path);
      return { size: bytes.length, mtimeMs, ctimeMs };
    },
  };

  /** What reads a file in pieces, as node:fs has it. */
  async *createReadStream(path: string): AsyncGenerator<Buffer> {
    await this.#pass(this.#owner);
    const { bytes } = this.#existing(path);
    for (let at = 0; at < bytes.length; at += 200) yield bytes.subarray(at, at + 200);
  }

  #handle(inode: Inode, owner: SimulatedProcess) {
    return {
      read: async (buffer: Buffer, offset: number, length: number, position: number) => {
        await this.#pass(owner);
        // Fewer than asked for, as reads may.
        const most = Math.min(length, this.#chance.int(1, 400));
        const bytesRead = inode.bytes.copy(buffer, offset, position, position + most);
        return { bytesRead, buffer };
      },
      write: async (bytes: Buffer, from: number, length: number) => {
        const nWritten = this.#chance.oneIn(3) ? this.#chance.int(1, length) : length;
        const fails = this.#mustFail();
        const nNow = fails ? this.#chance.int(0, nWritten) : nWritten;
        inode.bytes = Buffer.concat([inode.bytes, bytes.subarray(from, from + nNow)]);
        inode.mtimeMs = inode.ctimeMs = this.#clock.now;
        await this.#pass(owner, false);
        if (fails) throw failure("ENOSPC", "no space left");
        return { bytesWritten: nNow };
      },
      writeFile: async (text: string) => {
        await this.#pass(owner);
        inode.bytes = Buffer.from(text);
      },
      truncate: async (length: number) => {
        await this.#pass(owner);
        if (this.ignoresTruncate) return;
        inode.bytes = inode.bytes.subarray(0, length);
        inode.nSynced = Math.min(inode.nSynced, length);
      },
      datasync: async () => {
        const { length } = inode.bytes;
        await this.#pass(owner);
        inode.nSynced = Math.max(inode.nSynced, Math.min(length, inode.bytes.length));
      },
      close: async () => {
        await this.#pass(owner, false);
      },
    };
  }

  #mustFail(): boolean {
    return this.failEvery > 0 && this.#chance.oneIn(this.failEvery);
  }

  /** Takes its time. */
  async #pass(owner: SimulatedProcess, mayFail = true): Promise<void> {
    if (owner.isWatcher === true) return;
    const fails = mayFail && this.#mustFail();
    await this.#clock.sleep(this.#chance.oneIn(20) ? this.#chance.int(50, 2000) : 1);
    while ((owner.frozenUntil ?? 0) > this.#clock.now)
      await this.#clock.sleep((owner.frozenUntil ?? 0) - this.#clock.now);
    if (owner.isDead) await new Promise(() => {});
    if (fails) throw failure("EIO", "input/output error");
  }
}
