/**
 * A file system in memory that stalls, writes less than it is given, fails midway and loses power. Files are inodes: who has one open goes on
 * with it when its name is given to another. Operations of a process that has been killed never end.
 */
import type { Chance } from "./chance.ts";
import type { SimulatedClock } from "./clock.ts";

interface Inode {
  bytes: Buffer;
  /** So much survives a loss of power. */
  nSynced: number;
}

/** Who opens files; what is open dies with it. */
export interface SimulatedProcess {
  isDead: boolean;
}

export class SimulatedDisk {
  readonly #clock: SimulatedClock;
  readonly #chance: Chance;
  readonly #files = new Map<string, Inode>();
  /** One operation in so many fails; 0: none. */
  readonly #failEvery: number;
  /** Whose operations come next. */
  process: SimulatedProcess = { isDead: false };
  /** Planted by a test: cutting files short does nothing. */
  ignoresTruncate = false;

  constructor(clock: SimulatedClock, chance: Chance, failEvery: number) {
    this.#clock = clock;
    this.#chance = chance;
    this.#failEvery = failEvery;
  }

  textOf(path: string): string {
    return this.#files.get(path)?.bytes.toString("utf8") ?? "";
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

  /** The functions of node:fs/promises that journals use. */
  readonly module = {
    open: async (path: string) => {
      const owner = this.process;
      await this.#pass(owner);
      const inode = this.#files.get(path) ?? { bytes: Buffer.alloc(0), nSynced: 0 };
      this.#files.set(path, inode);
      return this.#handle(inode, owner);
    },
    copyFile: async (from: string, to: string) => {
      const owner = this.process;
      const inode = this.#files.get(from);
      if (inode === undefined) throw Object.assign(new Error("none"), { code: "ENOENT" });
      await this.#pass(owner);
      this.#files.set(to, { bytes: Buffer.from(inode.bytes), nSynced: inode.nSynced });
    },
    rename: async (from: string, to: string) => {
      await this.#pass(this.process);
      const inode = this.#files.get(from);
      if (inode !== undefined) this.#files.set(to, inode);
      this.#files.delete(from);
    },
    rm: async (path: string) => {
      this.#files.delete(path);
    },
  };

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
        await this.#pass(owner, false);
        if (fails) throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
        return { bytesWritten: nNow };
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
    return this.#failEvery > 0 && this.#chance.oneIn(this.#failEvery);
  }

  /** Takes its time. */
  async #pass(owner: SimulatedProcess, mayFail = true): Promise<void> {
    const fails = mayFail && this.#mustFail();
    await this.#clock.sleep(this.#chance.oneIn(20) ? this.#chance.int(50, 2000) : 1);
    if (owner.isDead) await new Promise(() => {});
    if (fails) throw Object.assign(new Error("input/output error"), { code: "EIO" });
  }
}
