/**
 * Random access to the bytes of a model file, wherever they lie: a path (byte-source.node.ts), a Blob, memory or a URL
 * that answers range requests. Knows nothing of formats; nothing is read until it is asked for.
 */
import { BitNetError } from "./errors.ts";

export interface ByteSource {
  /** Shown in messages: a path, a URL or a label. */
  readonly name: string;
  /** Total length in bytes. */
  readonly size: number;
  /** Absolute path when the bytes are a local file, so that a backend can map it. */
  readonly path?: string;
  /**
   * Reads exactly `length` bytes from `offset`. The result may be a view of shared memory: do not modify it.
   * @throws BitNetError FORMAT_TRUNCATED when the range leaves the source, IO_FAILED when reading fails.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Like `read`, but fills memory of the caller's; where the bytes have to be copied anyway. */
  readInto?(offset: number, target: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** @throws BitNetError FORMAT_TRUNCATED unless `[offset, offset + length)` lies within `size`. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  if (offset < 0 || length < 0 || !Number.isSafeInteger(offset + length) || offset + length > size) {
    throw new BitNetError(
      "FORMAT_TRUNCATED",
      `${name}: bytes ${offset}…${offset + length} were asked for, but it holds ${size}; the download may be incomplete`,
      { details: { offset, length, size } },
    );
  }
}

export function bytesSource(bytes: Uint8Array, name = "memory"): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    async read(offset, length) {
      checkRange(name, bytes.byteLength, offset, length);
      return bytes.subarray(offset, offset + length);
    },
    async close() {},
  };
}

export function blobSource(blob: Blob, name = "blob"): ByteSource {
  return {
    name,
    size: blob.size,
    async read(offset, length) {
      checkRange(name, blob.size, offset, length);
      try {
        return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      } catch (cause) {
        throw new BitNetError("IO_FAILED", `${name}: reading ${length} bytes at ${offset} failed`, { cause });
      }
    },
    async close() {},
  };
}
