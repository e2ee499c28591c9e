/** Builds model files byte by byte, so that tests can also build wrong ones. Shares no code with the writers. */
import type { ByteSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";

export type Bytes = readonly number[];

export function u32(value: number): Bytes {
  return [...new Uint8Array(Uint32Array.of(value).buffer)];
}

export function u64(value: number | bigint): Bytes {
  return [...new Uint8Array(BigInt64Array.of(BigInt(value)).buffer)];
}

export function f32(value: number): Bytes {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}

/** A GGUF string: u64 length, UTF-8. */
export function text(value: string): Bytes {
  const bytes = new TextEncoder().encode(value);
  return [...u64(bytes.length), ...bytes];
}

/** A metadata entry: key, type number, value. */
export function entry(key: string, typeId: number, value: Bytes): Bytes {
  return [...text(key), ...u32(typeId), ...value];
}

/** A tensor info: `dims` in file order (columns first). */
export function info(
  name: string,
  dims: readonly (number | bigint)[],
  typeId: number,
  offset: number | bigint,
): Bytes {
  return [...text(name), ...u32(dims.length), ...dims.flatMap(u64), ...u32(typeId), ...u64(offset)];
}

interface RawGguf {
  magic?: string;
  version?: number;
  nTensors?: number | bigint;
  nMetadata?: number | bigint;
  metadata?: readonly Bytes[];
  tensors?: readonly Bytes[];
  /** Bytes of tensor data behind the padded header. */
  dataBytes?: number;
  alignment?: number;
}

export function rawGguf(raw: RawGguf): Uint8Array<ArrayBuffer> {
  const { metadata = [], tensors = [], dataBytes = 0, alignment = 32 } = raw;
  const header = [
    ...new TextEncoder().encode(raw.magic ?? "GGUF"),
    ...u32(raw.version ?? 3),
    ...u64(raw.nTensors ?? tensors.length),
    ...u64(raw.nMetadata ?? metadata.length),
    ...metadata.flat(),
    ...tensors.flat(),
  ];
  const dataStart = Math.ceil(header.length / alignment) * alignment;
  const file = new Uint8Array(dataBytes > 0 ? dataStart + dataBytes : header.length);
  file.set(header);
  for (let i = dataStart; i < file.length; i++) file[i] = (i * 31) & 255;
  return file;
}

/** A safetensors file with this header text. */
export function rawSafetensors(header: string, dataBytes: number): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + json.length + dataBytes);
  file.set(u64(json.length));
  file.set(json, 8);
  return file;
}

/** The error of a call that must end in a BitNetError; anything else fails the test. */
export async function errorOf(action: () => unknown): Promise<BitNetError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof BitNetError) return error;
    throw error;
  }
  throw new Error("expected a BitNetError, but the call succeeded");
}

/** Counts reads and bytes of a source, and whether it was closed. */
export function watched(source: ByteSource) {
  const counts = { reads: 0, bytes: 0, closed: 0 };
  const watchedSource: ByteSource = {
    ...source,
    read(offset, length) {
      counts.reads++;
      counts.bytes += length;
      return source.read(offset, length);
    },
    async close() {
      counts.closed++;
      await source.close();
    },
  };
  return { source: watchedSource, counts };
}

/** Counts the turns that the event loop gets until `stop`. */
export function countingTurns(): { stop(): number } {
  let count = 0;
  let isOn = true;
  const tick = () => {
    if (!isOn) return;
    count++;
    setImmediate(tick);
  };
  setImmediate(tick);
  return {
    stop() {
      isOn = false;
      return count;
    },
  };
}
