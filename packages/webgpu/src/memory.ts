/** Buffers of one loaded program on a device: made all or none, filled in pieces, and freed at once. */
import {
  BitNetError,
  type ByteSource,
  bytesSource,
  type DenseTensor,
  denseByteLength,
  type SourceRef,
  type TernaryTensor,
  throwIfAborted,
} from "@bitnet.ts/core";
import { openFile } from "#gpu";
import { type Device, usage } from "./device.ts";
import { waitFor } from "./waiting.ts";

/** Brought to the device at a time. */
const pieceBytes = 2 ** 24;

export class DeviceMemory {
  readonly device: Device;
  readonly #buffers: GPUBuffer[] = [];
  #bytes = 0;

  constructor(device: Device) {
    this.device = device;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Storage of at least `bytes`, zeroed. @throws BitNetError OUT_OF_MEMORY where no binding can be so large. */
  storage(label: string, bytes: number, extra: number = usage.copyDst): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const most = this.mostBytes;
    if (size > most) {
      throw new BitNetError(
        "OUT_OF_MEMORY",
        `webgpu: ${label} takes ${mega(size)}, but ${this.device.report.name} binds at most ${mega(most)} at once; ` +
          "ask for a shorter context or fewer cacheTokens, or take another backend",
        { details: { label, size, most } },
      );
    }
    return this.buffer(label, size, usage.storage | extra);
  }

  buffer(label: string, size: number, usages: number): GPUBuffer {
    const buffer = this.device.gpu.createBuffer({ label, size, usage: usages });
    this.#buffers.push(buffer);
    this.#bytes += size;
    return buffer;
  }

  /** Bytes that one buffer and one binding may have. */
  get mostBytes(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.device.report.limits;
    return Math.min(maxBufferSize, maxStorageBufferBindingSize);
  }

  /**
   * Runs `allocate` and tells when the device has no room for what it made.
   * @throws BitNetError OUT_OF_MEMORY, BACKEND_FAILED.
   */
  async reserving<T>(what: string, allocate: () => T): Promise<T> {
    const { gpu, report } = this.device;
    gpu.pushErrorScope("validation");
    gpu.pushErrorScope("out-of-memory");
    let made: T;
    let errors: (GPUError | null)[] = [];
    try {
      made = allocate();
    } finally {
      errors = await Promise.all([gpu.popErrorScope(), gpu.popErrorScope()]);
    }
    this.device.assertWell();
    const [noRoom, invalid] = errors;
    if (noRoom) {
      throw new BitNetError(
        "OUT_OF_MEMORY",
        `webgpu: ${report.name} has no room for ${what} (${mega(this.#bytes)} so far); ` +
          "ask for a shorter context or fewer cacheTokens, or take a smaller model",
        { details: { bytes: this.#bytes } },
      );
    }
    if (invalid) throw new BitNetError("BACKEND_FAILED", `webgpu: ${report.name}: ${invalid.message}`);
    return made;
  }

  free(): void {
    for (const buffer of this.#buffers) buffer.destroy();
    this.#buffers.length = 0;
    this.#bytes = 0;
  }
}

function mega(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}

export function tensorBytes(tensor: TernaryTensor | DenseTensor): number {
  return tensor.kind === "ternary"
    ? tensor.rows * Math.ceil(tensor.cols / 128) * 32
    : denseByteLength(tensor.type, tensor.rows * tensor.cols);
}

/** Reads weights out of a program's sources. */
export class WeightReader {
  readonly #sources: readonly SourceRef[];
  readonly #opened = new Map<number, Promise<ByteSource>>();
  readonly #signal: AbortSignal | undefined;

  constructor(sources: readonly SourceRef[], signal: AbortSignal | undefined) {
    this.#sources = sources;
    this.#signal = signal;
  }

  /** A part of a tensor, `at` bytes from its beginning. @throws BitNetError of the source, ABORTED. */
  async read(
    { source, offset }: { source: number; offset: number },
    at: number,
    length: number,
  ): Promise<Uint8Array> {
    throwIfAborted(this.#signal);
    let opened = this.#opened.get(source);
    if (opened === undefined) {
      opened = openSource(this.#sources[source]);
      this.#opened.set(source, opened);
    }
    return (await opened).read(offset + at, length);
  }

  async close(): Promise<void> {
    const opened = await Promise.allSettled(this.#opened.values());
    await Promise.all(opened.map((each) => (each.status === "fulfilled" ? each.value.close() : undefined)));
  }
}

async function openSource(source: SourceRef | undefined): Promise<ByteSource> {
  if (source === undefined) throw new BitNetError("INTERNAL", "webgpu: a weight without a source");
  if (source.kind === "bytes") return bytesSource(source.bytes, source.name);
  if (source.kind === "stream") return { ...source, close: async () => {} };
  return openFile(source.path);
}

/** Brings `length` bytes of a tensor, from `from` on, to a place in a buffer that is a multiple of 4, and tells of each piece. */
export async function upload(
  reader: WeightReader,
  tensor: TernaryTensor | DenseTensor,
  target: { device: Device; buffer: GPUBuffer; at: number },
  { from, length, onPiece }: { from: number; length: number; onPiece: (bytes: number) => void },
): Promise<void> {
  const { device, buffer, at } = target;
  for (let done = 0; done < length; done += pieceBytes) {
    const size = Math.min(pieceBytes, length - done);
    const piece = await reader.read(tensor, from + done, size);
    if (piece.byteLength !== size)
      throw new BitNetError(
        "FORMAT_TRUNCATED",
        `webgpu: a weight needs ${size} bytes, found ${piece.byteLength}`,
      );
    // Whole words, and memory that nobody shares: the queue takes nothing else.
    const words = new Uint8Array(Math.ceil(size / 4) * 4);
    words.set(piece);
    device.gpu.queue.writeBuffer(buffer, at + done, words);
    // Lets the device take what was brought before more is read.
    if (length > pieceBytes) await waitFor(device.gpu, device.gpu.queue.onSubmittedWorkDone());
    device.assertWell();
    onPiece(size);
  }
}
