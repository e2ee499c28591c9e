/**
 * Reads a file's header from front to back through a window that grows: few reads, never the whole file, and no
 * allocation before the length that asks for it is known to fit the file.
 */
import type { ByteSource } from "../../base/byte-source.ts";
import { BitNetError } from "../../base/errors.ts";
import { createPause } from "../../base/event-loop.ts";

const firstWindowBytes = 2 ** 16;
const largestWindowBytes = 2 ** 22;
/** Ten times what the largest vocabularies need. */
const largestHeaderBytes = 2 ** 27;
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Every `read…` method needs its bytes in the window: call `need` first, or see that `has` says so, which spares a turn
 * of the event loop per value.
 */
export class HeaderCursor {
  readonly #source: ByteSource;
  readonly #label: string;
  #window: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#window.buffer);
  #windowStart = 0;
  #at = 0;
  #nextWindowBytes = firstWindowBytes;

  readonly #pause: () => Promise<void>;

  /** `label` starts every message; `signal` ends reading. */
  constructor(source: ByteSource, label: string, signal?: AbortSignal) {
    this.#source = source;
    this.#label = label;
    this.#pause = createPause(signal);
  }

  /** Position in the file. */
  get offset(): number {
    return this.#windowStart + this.#at;
  }

  /** Bytes between here and the end of the file. */
  get remaining(): number {
    return this.#source.size - this.offset;
  }

  has(n: number): boolean {
    return this.#at + n <= this.#window.length;
  }

  /** Brings the next `n` bytes into the window. @throws BitNetError FORMAT_TRUNCATED. */
  async need(n: number, what: string): Promise<void> {
    if (this.has(n)) return;
    if (n > this.remaining) this.#truncated(what, n);
    if (this.offset + n > largestHeaderBytes)
      this.fail("FORMAT_INVALID", "the header is larger than 128 MiB");
    const length = Math.min(this.remaining, Math.max(n, this.#nextWindowBytes));
    const start = this.offset;
    await this.#pause();
    this.#window = await this.#source.read(start, length);
    this.#view = new DataView(this.#window.buffer, this.#window.byteOffset, this.#window.byteLength);
    this.#windowStart = start;
    this.#at = 0;
    this.#nextWindowBytes = Math.min(largestWindowBytes, 2 * this.#nextWindowBytes);
  }

  readU32(): number {
    const value = this.#view.getUint32(this.#at, true);
    this.#at += 4;
    return value;
  }

  /** A u64 that counts things of at least `unitBytes` each, which must therefore fit into the rest of the file. */
  readCount(what: string, unitBytes: number): number {
    const value = this.#view.getBigUint64(this.#at, true);
    this.#at += 8;
    if (value > BigInt(Math.floor(this.remaining / unitBytes))) {
      this.fail(
        "FORMAT_TRUNCATED",
        `${what} claims ${value}, but only ${this.remaining} bytes follow; the file is damaged or incomplete`,
      );
    }
    return Number(value);
  }

  /** Reads the length of a text that lies whole in the window; null, and nothing read, otherwise. */
  readLengthInWindow(cap: number): number | null {
    if (!this.has(8)) return null;
    const length = this.#view.getUint32(this.#at, true);
    if (this.#view.getUint32(this.#at + 4, true) !== 0 || length > cap || !this.has(8 + length)) return null;
    this.#at += 8;
    return length;
  }

  /** A u64 of any size; infinity beyond 2^53. */
  readU64(): number {
    const value = this.#view.getBigUint64(this.#at, true);
    this.#at += 8;
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(value);
  }

  /** Reads one value with `get`. */
  readWith<T>(bytes: number, get: (view: DataView, at: number) => T): T {
    const value = get(this.#view, this.#at);
    this.#at += bytes;
    return value;
  }

  /** A view of the next `n` bytes, valid until the next `need`. */
  readBytes(n: number): Uint8Array {
    this.#at += n;
    return this.#window.subarray(this.#at - n, this.#at);
  }

  /** The next `n` bytes as text; malformed UTF-8 becomes U+FFFD, or is refused when `what` is given. */
  readText(n: number, what?: string): string {
    const bytes = this.readBytes(n);
    if (what === undefined) return utf8.decode(bytes);
    try {
      return strictUtf8.decode(bytes);
    } catch {
      return this.fail("FORMAT_INVALID", `${what} is not UTF-8`);
    }
  }

  #truncated(what: string, n: number): never {
    this.fail(
      "FORMAT_TRUNCATED",
      `${what} needs ${n} bytes at ${this.offset}, but the file ends at ${this.#source.size}; the download may be incomplete`,
    );
  }

  fail(code: "FORMAT_INVALID" | "FORMAT_TRUNCATED" | "FORMAT_UNSUPPORTED", problem: string): never {
    throw new BitNetError(code, `${this.#label}: ${problem}`, {
      details: { file: this.#source.name, offset: this.offset },
    });
  }
}
