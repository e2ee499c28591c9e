/**
 * The audit log: a line of JSON for every request and refusal, in files of bounded size and number. Clients are named by a keyed hash, so
 * that lines of one client can be told from those of another without telling who it is.
 */
import { createHmac, randomBytes } from "node:crypto";
import { appendFile, link, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { writeDurably } from "../store/write-durably.ts";

export interface AuditSettings {
  readonly file: string;
  /** Key of the hash of clients, at least 16 characters; null: one is made beside the log and kept there. */
  readonly secret: string | null;
  /** Write prompts and answers as well. */
  readonly withTexts: boolean;
  /** A file that has grown so large is put aside as `.1`, `.2`, … */
  readonly maxBytes: number;
  /** Files put aside at most; older ones are deleted. */
  readonly maxFiles: number;
}

/** Lines that wait for the disk, at most: beyond that they are dropped and counted. */
const maxWaiting = 10_000;
/** A disk that goes on failing is told again after so long. */
const tellMs = 60_000;

export class AuditLog {
  readonly #settings: AuditSettings;
  readonly #secret: string;
  readonly #onFailure: (line: string) => void;
  #waiting: string[] = [];
  #writing: Promise<void> | null = null;
  #size: number;
  #nDropped = 0;
  #toldAt = Number.NEGATIVE_INFINITY;

  private constructor(
    settings: AuditSettings,
    secret: string,
    size: number,
    onFailure: (line: string) => void,
  ) {
    this.#settings = settings;
    this.#secret = secret;
    this.#size = size;
    this.#onFailure = onFailure;
  }

  /** @throws BitNetError IO_FAILED, INVALID_ARGUMENT for a secret that is too short. */
  static async open(settings: AuditSettings, onFailure: (line: string) => void): Promise<AuditLog> {
    try {
      await mkdir(dirname(settings.file), { recursive: true, mode: 0o700 });
      const secret = settings.secret ?? (await keptSecret(`${settings.file}.secret`));
      if (secret.length < 16) {
        const kept = `: ${settings.file}.secret has ${secret.length}; remove it, and a new one is made`;
        throw new BitNetError(
          "INVALID_ARGUMENT",
          `audit: the secret must have at least 16 characters${settings.secret === null ? kept : ""}`,
        );
      }
      const handle = await open(settings.file, "a", 0o600);
      const { size } = await handle.stat();
      await handle.close();
      return new AuditLog(settings, secret, size, onFailure);
    } catch (cause) {
      if (cause instanceof BitNetError) throw cause;
      throw new BitNetError("IO_FAILED", `${settings.file}: the audit log cannot be written`, { cause });
    }
  }

  get withTexts(): boolean {
    return this.#settings.withTexts;
  }

  /** Lines that were lost because the disk did not keep up, or failed. */
  get dropped(): number {
    return this.#nDropped;
  }

  /** The name of a client in the log. */
  hash(client: string): string {
    return createHmac("sha256", this.#secret).update(client).digest("hex").slice(0, 32);
  }

  write(entry: Readonly<Record<string, unknown>>): void {
    if (this.#waiting.length >= maxWaiting) {
      this.#nDropped++;
      return;
    }
    this.#waiting.push(`${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`);
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = null;
    });
  }

  /** Waits for what has been written. */
  async close(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      this.#waiting = [];
      try {
        await this.#append(lines);
        this.#toldAt = Number.NEGATIVE_INFINITY;
      } catch (error) {
        this.#nDropped += lines.length;
        // On a full disk every request would say it.
        if (performance.now() - this.#toldAt < tellMs) continue;
        this.#toldAt = performance.now();
        this.#onFailure(`audit: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }

  /** As many lines at a time as the file has room for. */
  async #append(lines: readonly string[]): Promise<void> {
    const { file, maxBytes } = this.#settings;
    let chunk = "";
    let bytes = 0;
    for (const line of lines) {
      const size = Buffer.byteLength(line);
      if (this.#size + bytes > 0 && this.#size + bytes + size > maxBytes) {
        if (chunk !== "") await appendFile(file, chunk, { mode: 0o600 });
        await this.#rotate();
        chunk = "";
        bytes = 0;
      }
      chunk += line;
      bytes += size;
    }
    if (chunk !== "") await appendFile(file, chunk, { mode: 0o600 });
    this.#size += bytes;
  }

  async #rotate(): Promise<void> {
    const { file, maxFiles } = this.#settings;
    await rm(`${file}.${maxFiles}`, { force: true });
    for (let i = maxFiles - 1; i >= 1; i--) await renameIfThere(`${file}.${i}`, `${file}.${i + 1}`);
    if (maxFiles > 0) await renameIfThere(file, `${file}.1`);
    else await rm(file, { force: true });
    this.#size = 0;
  }
}

/** Another server that writes the same log may have put it aside. */
async function renameIfThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

/** Made once, so that a client keeps its name over restarts; whole from the start, since another server may read it at once. */
async function keptSecret(file: string): Promise<string> {
  const made = randomBytes(32).toString("base64url");
  const part = `${file}.${randomBytes(6).toString("hex")}.part`;
  try {
    await writeDurably(part, made);
    await link(part, file);
    return made;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return (await readFile(file, "utf8")).trim();
  } finally {
    await rm(part, { force: true });
  }
}
