/**
 * The weights of a bound Program as numbers, one at a time, and a fingerprint of them: what training starts from, and what an adapter
 * belongs to. Knows no file format; trits and scales are those that are computed with.
 */
import type { Program, SourceRef, TernaryTensor } from "../backend/program.ts";
import { type ByteSource, bytesSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";
import { computeRowBytes, unpackComputeRow } from "../packing/compute-layout.ts";
import { denseByteLength, widenRows } from "../packing/dense.ts";
import type { Scale } from "../packing/packing.ts";

/** Bytes hashed at a time. */
const pieceBytes = 2 ** 22;

export class ProgramWeights {
  readonly #program: Program;
  readonly #openFile: ((path: string) => Promise<ByteSource>) | undefined;
  readonly #opened = new Map<number, Promise<ByteSource>>();

  /** @param openFile Opens `file` sources; without it a program may only name sources in memory. */
  constructor(program: Program, openFile?: (path: string) => Promise<ByteSource>) {
    this.#program = program;
    this.#openFile = openFile;
  }

  /** Trits [rows, cols] and their scale. @throws BitNetError FORMAT_INVALID for codes that are no trits, IO_FAILED. */
  async ternary(name: string): Promise<{ rows: number; cols: number; trits: Int8Array; scale: Scale }> {
    const tensor = this.#tensor(name);
    if (tensor.kind !== "ternary") throw missing(name);
    const { rows, cols, scale } = tensor;
    const rowBytes = computeRowBytes(cols);
    const bytes = await this.#read(tensor.source, tensor.offset, rows * rowBytes);
    const trits = new Int8Array(rows * cols);
    for (let row = 0; row < rows; row++)
      unpackComputeRow(bytes, row * rowBytes, cols, trits.subarray(row * cols, (row + 1) * cols));
    if (trits.includes(2))
      throw new BitNetError("FORMAT_INVALID", `weight "${name}" holds codes that are no trits`);
    return { rows, cols, trits, scale };
  }

  /** [rows, cols], widened to f32. @throws BitNetError IO_FAILED. */
  async dense(name: string): Promise<Float32Array> {
    const tensor = this.#tensor(name);
    if (tensor.kind !== "dense") throw missing(name);
    const { type, rows, cols } = tensor;
    const bytes = await this.#read(tensor.source, tensor.offset, denseByteLength(type, rows * cols));
    const values = new Float32Array(rows * cols);
    widenRows(type, bytes, cols, 0, rows, values);
    return values;
  }

  /**
   * 16 hexadecimal digits that tell models apart by their ternary weights and scales, whatever file they come from. No protection against
   * somebody who wants two models to have the same.
   */
  async fingerprint(): Promise<string> {
    const hash = new Mixer();
    for (const buffer of this.#program.buffers) {
      if (buffer.class !== "weight" || buffer.tensor.kind !== "ternary") continue;
      const { source, offset, rows, cols } = buffer.tensor;
      hash.add(Uint8Array.from(buffer.name, (letter) => letter.charCodeAt(0)));
      hash.add(scaleBytes(buffer.tensor));
      const end = offset + rows * computeRowBytes(cols);
      for (let at = offset; at < end; at += pieceBytes)
        hash.add(await this.#read(source, at, Math.min(pieceBytes, end - at)));
    }
    return hash.digest();
  }

  async close(): Promise<void> {
    const opened = await Promise.allSettled(this.#opened.values());
    this.#opened.clear();
    await Promise.all(opened.map((each) => (each.status === "fulfilled" ? each.value.close() : undefined)));
  }

  #tensor(name: string) {
    const buffer = this.#program.buffers.find((each) => each.class === "weight" && each.name === name);
    if (buffer?.class !== "weight") throw missing(name);
    return buffer.tensor;
  }

  async #read(id: number, offset: number, length: number): Promise<Uint8Array> {
    let source = this.#opened.get(id);
    if (source === undefined) {
      source = this.#open(this.#program.sources[id]);
      this.#opened.set(id, source);
    }
    return (await source).read(offset, length);
  }

  async #open(source: SourceRef | undefined): Promise<ByteSource> {
    if (source?.kind === "bytes") return bytesSource(source.bytes, source.name);
    if (source?.kind === "stream") return { ...source, close: async () => {} };
    if (source !== undefined && this.#openFile !== undefined) return this.#openFile(source.path);
    throw new BitNetError("INTERNAL", `${source?.path ?? "a source"}: nothing was given to open files with`);
  }
}

function scaleBytes({ scale }: TernaryTensor): Uint8Array {
  const values = scale.kind === "tensor" ? Float32Array.of(scale.value) : Float32Array.from(scale.values);
  return new Uint8Array(values.buffer);
}

/** Two 32-bit halves, each byte and the length of every piece mixed into both. */
class Mixer {
  #a = 0x243f6a88;
  #b = 0x85a308d3;

  add(bytes: Uint8Array): void {
    let [a, b] = [this.#a ^ bytes.length, this.#b];
    const nWords = bytes.length >>> 2;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < nWords; i++) {
      const word = view.getInt32(4 * i, true);
      a = Math.imul(a ^ word, 0x9e3779b1);
      a ^= a >>> 15;
      b = Math.imul((b << 13) ^ (b >>> 19) ^ word, 0x85ebca6b) + a;
    }
    for (let i = 4 * nWords; i < bytes.length; i++) {
      a = Math.imul(a ^ (bytes[i] ?? 0), 0x9e3779b1);
      a ^= a >>> 15;
      b = Math.imul((b << 13) ^ (b >>> 19) ^ (bytes[i] ?? 0), 0x85ebca6b) + a;
    }
    [this.#a, this.#b] = [a, b];
  }

  digest(): string {
    const last = (x: number) => {
      let h = Math.imul(x ^ (x >>> 16), 0x7feb352d);
      h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
      return ((h ^ (h >>> 16)) >>> 0).toString(16).padStart(8, "0");
    };
    return last(this.#a) + last(this.#b ^ this.#a);
  }
}

function missing(name: string): BitNetError {
  return new BitNetError("MODEL_INVALID", `the model has no weight "${name}" of the kind that is wanted`);
}
