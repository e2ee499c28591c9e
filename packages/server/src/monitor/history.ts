/**
 * The snapshots of the last day: in a ring of numbers, and as lines on disk in two files that take turns, so that neither grows without
 * bound. A line that cannot be read is passed over.
 */
import { appendFile, mkdir, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { type Snapshot, snapshotFields } from "./snapshot.ts";

export const historyMs = 24 * 3600 * 1000;

export class History {
  readonly #path: string | null;
  readonly #ring: Float64Array;
  readonly #capacity: number;
  readonly #linesPerFile: number;
  #count = 0;
  #next = 0;
  #lines = 0;
  /** Whether the file may end within a line, which must not swallow the next one. */
  #isCut = false;
  #tail: Promise<void> = Promise.resolve();

  private constructor(path: string | null, intervalMs: number) {
    this.#path = path;
    this.#capacity = Math.max(2, Math.ceil(historyMs / intervalMs));
    this.#linesPerFile = this.#capacity;
    this.#ring = new Float64Array(this.#capacity * snapshotFields.length);
  }

  /** @param path File of the lines; null: nothing is kept. The older ones are in `<path>.1`. */
  static async open(path: string | null, intervalMs: number, now: number): Promise<History> {
    const history = new History(path, intervalMs);
    if (path === null) return history;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    for (const file of [`${path}.1`, path]) {
      const lines = (await readFile(file, "utf8").catch(() => "")).split("\n");
      for (const line of lines) {
        const snapshot = readSnapshot(line);
        if (snapshot !== null && snapshot.time > now - historyMs && snapshot.time <= now)
          history.#remember(snapshot);
      }
      history.#lines = lines.length - 1;
      history.#isCut = lines.at(-1) !== "";
    }
    return history;
  }

  /** Oldest first. */
  since(time: number): Snapshot[] {
    const found: Snapshot[] = [];
    for (let i = 0; i < this.#count; i++) {
      const at = (this.#next - this.#count + i + this.#capacity) % this.#capacity;
      const snapshot = this.#at(at);
      if (snapshot.time >= time) found.push(snapshot);
    }
    return found;
  }

  /** Resolves when it is on disk. @throws the file system's error; it is remembered all the same. */
  add(snapshot: Snapshot): Promise<void> {
    this.#remember(snapshot);
    const path = this.#path;
    if (path === null) return Promise.resolve();
    const done = this.#tail.then(() => this.#write(path, snapshot));
    this.#tail = done.catch(() => {});
    return done;
  }

  async #write(path: string, snapshot: Snapshot): Promise<void> {
    if (this.#lines >= this.#linesPerFile) {
      await rename(path, `${path}.1`).catch((error: NodeJS.ErrnoException) => {
        // Somebody has taken it away.
        if (error.code !== "ENOENT") throw error;
      });
      this.#lines = 0;
      this.#isCut = false;
    }
    const feed = this.#isCut ? "\n" : "";
    this.#isCut = true;
    await appendFile(path, `${feed}${JSON.stringify(snapshot)}\n`, { mode: 0o600 });
    this.#isCut = false;
    this.#lines++;
  }

  #remember(snapshot: Snapshot): void {
    const start = this.#next * snapshotFields.length;
    snapshotFields.forEach((field, i) => {
      this.#ring[start + i] = snapshot[field] ?? Number.NaN;
    });
    this.#next = (this.#next + 1) % this.#capacity;
    this.#count = Math.min(this.#count + 1, this.#capacity);
  }

  #at(index: number): Snapshot {
    const start = index * snapshotFields.length;
    const entries = snapshotFields.map((field, i) => {
      const value = this.#ring[start + i] ?? Number.NaN;
      return [field, Number.isNaN(value) ? null : value];
    });
    return Object.fromEntries(entries) as Snapshot;
  }
}

const laterFields: readonly string[] = ["memory_planned_mb", "queued_tokens", "first_token_ms"];

function readSnapshot(line: string): Snapshot | null {
  try {
    const value = JSON.parse(line) as Record<string, unknown>;
    // An older version did not know all of them.
    const isGood = snapshotFields.every(
      (field) =>
        value[field] === null ||
        Number.isFinite(value[field]) ||
        (!Object.hasOwn(value, field) && laterFields.includes(field)),
    );
    return isGood && value.time !== null ? (value as unknown as Snapshot) : null;
  } catch {
    return null;
  }
}
