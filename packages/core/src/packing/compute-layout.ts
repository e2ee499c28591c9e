/**
 * The compute layout: what the kernels of every backend read. It is I2_S 128/32 with padded rows: a row takes
 * ceil(cols / 128) · 32 bytes, missing weights are code 1 (zero), and no scale stands inside. Every packing is transcoded
 * into it at load, by a fast path of compute-transcode.ts or else through unpacked trits.
 */
import { checkBytes } from "./bounds.ts";
import { fastTranscoder } from "./compute-transcode.ts";
import type { Packing, PackingId, TernaryShape } from "./packing.ts";
import { packings } from "./registry.ts";
import { type TwoBitLayout, unpackTwoBit } from "./two-bit.ts";

const computeBlocks: TwoBitLayout = { lanes: 32, highFirst: true };

/** Bytes of one row of `cols` weights. */
export function computeRowBytes(cols: number): number {
  return Math.ceil(cols / 128) * 32;
}

/** True where the packed bytes already are in compute layout (but for the scale behind them) and can be used in place. */
export function isComputeLayout(id: PackingId, shape: TernaryShape): boolean {
  return id === "i2_s" && shape.cols % 128 === 0;
}

/** Unpacks the row of `cols` weights at byte `offset` into `out` [cols]: −1, 0, +1, or +2 for code 3. */
export function unpackComputeRow(bytes: Uint8Array, offset: number, cols: number, out: Int8Array): void {
  unpackTwoBit(bytes.subarray(offset), computeBlocks, 0, out.subarray(0, cols));
}

/**
 * Receives rows `[firstRow, firstRow + nRows)` in compute layout, in ascending order. `slice` is overwritten by the next
 * one: copy what is to be kept.
 */
export type ComputeSliceSink = (slice: Uint8Array, firstRow: number, nRows: number) => void;

/** Writes rows `[first, first + count)` in compute layout to `out` [count · computeRowBytes]. */
type RowWriter = (first: number, count: number, out: Uint8Array) => void;

/** Bytes of compute layout in one slice, unless a single row takes more. */
const sliceBytes = 2 ** 18;

/**
 * Transcodes a tensor's packed bytes [rows, cols] to compute layout: whole, [rows · computeRowBytes(cols)], or slice by
 * slice into `onSlice` with a scratch of a few hundred KiB. Code 3 is kept. The result may be a view of `bytes`.
 * @throws BitNetError FORMAT_UNSUPPORTED for a shape that the packing cannot hold, FORMAT_TRUNCATED for too few bytes.
 */
export function toComputeLayout(id: PackingId, bytes: Uint8Array, shape: TernaryShape): Uint8Array;
export function toComputeLayout(
  id: PackingId,
  bytes: Uint8Array,
  shape: TernaryShape,
  onSlice: ComputeSliceSink,
): void;
export function toComputeLayout(
  id: PackingId,
  bytes: Uint8Array,
  shape: TernaryShape,
  onSlice?: ComputeSliceSink,
): Uint8Array | undefined {
  const packing = packings[id];
  checkBytes(id, bytes, packing.byteLength(shape));
  if (isComputeLayout(id, shape)) return inPlace(bytes, shape, onSlice);
  const writeRows =
    fastTranscoder(id, bytes, shape) ?? writerOfTrits(unpackerOf(packing, bytes, shape), shape);
  return write(writeRows, shape, onSlice);
}

/**
 * Like `toComputeLayout` for rows that come from anywhere: `unpackRows` fills `out` [count, cols] with −1, 0, +1 (or +2,
 * which becomes code 3). It is called for ascending runs of rows.
 */
export function rowsToComputeLayout(unpackRows: RowUnpacker, shape: TernaryShape): Uint8Array;
export function rowsToComputeLayout(
  unpackRows: RowUnpacker,
  shape: TernaryShape,
  onSlice: ComputeSliceSink,
): void;
export function rowsToComputeLayout(
  unpackRows: RowUnpacker,
  shape: TernaryShape,
  onSlice?: ComputeSliceSink,
): Uint8Array | undefined {
  return write(writerOfTrits(unpackRows, shape), shape, onSlice);
}

export type RowUnpacker = (first: number, count: number, out: Int8Array) => void;

function unpackerOf(packing: Packing, bytes: Uint8Array, shape: TernaryShape): RowUnpacker {
  return (first, count, out) => packing.unpackRows(bytes, shape, first, count, out);
}

function rowsPerSlice(shape: TernaryShape): number {
  return Math.min(shape.rows, Math.max(1, Math.floor(sliceBytes / computeRowBytes(shape.cols))));
}

function inPlace(bytes: Uint8Array, shape: TernaryShape, onSlice: ComputeSliceSink | undefined) {
  const rowBytes = computeRowBytes(shape.cols);
  if (onSlice === undefined) return bytes.subarray(0, shape.rows * rowBytes);
  const step = rowsPerSlice(shape);
  for (let first = 0; first < shape.rows; first += step) {
    const count = Math.min(step, shape.rows - first);
    onSlice(bytes.subarray(first * rowBytes, (first + count) * rowBytes), first, count);
  }
  return undefined;
}

function write(writeRows: RowWriter, shape: TernaryShape, onSlice: ComputeSliceSink | undefined) {
  const rowBytes = computeRowBytes(shape.cols);
  const step = rowsPerSlice(shape);
  const target = shareableBytes((onSlice === undefined ? shape.rows : step) * rowBytes);
  for (let first = 0; first < shape.rows; first += step) {
    const count = Math.min(step, shape.rows - first);
    const at = onSlice === undefined ? first * rowBytes : 0;
    const slice = target.subarray(at, at + count * rowBytes);
    writeRows(first, count, slice);
    onSlice?.(slice, first, count);
  }
  return onSlice === undefined ? target : undefined;
}

/** Memory that other threads and native code may use in place, where the platform has such memory. */
function shareableBytes(length: number): Uint8Array {
  return new Uint8Array(
    typeof SharedArrayBuffer === "undefined" ? new ArrayBuffer(length) : new SharedArrayBuffer(length),
  );
}

function writerOfTrits(unpackRows: RowUnpacker, shape: TernaryShape): RowWriter {
  const { cols } = shape;
  const rowBytes = computeRowBytes(cols);
  const trits = new Int8Array(rowsPerSlice(shape) * cols);
  const lastBlock = new Int8Array(128); // the end of a row, then zeros
  const inLastBlock = cols % 128;
  if (inLastBlock === 0) {
    const words = new Uint32Array(trits.buffer);
    return (first, count, out) => {
      unpackRows(first, count, trits);
      packWords(words, new Uint32Array(out.buffer, out.byteOffset, out.length / 4));
    };
  }
  return (first, count, out) => {
    unpackRows(first, count, trits);
    for (let r = 0; r < count; r++) {
      const from = r * cols;
      const to = r * rowBytes;
      const wholeBlocks = (cols - inLastBlock) / 128;
      for (let b = 0; b < wholeBlocks; b++) packBlock(trits, from + 128 * b, out, to + 32 * b);
      lastBlock.set(trits.subarray(from + 128 * wholeBlocks, from + cols));
      packBlock(lastBlock, 0, out, to + 32 * wholeBlocks);
    }
  };
}

/** Whole blocks, four weights at a time: `out` is full once as many blocks of `trits` are packed as it has room for. */
function packWords(trits: Uint32Array, out: Uint32Array): void {
  for (let to = 0, from = 0; to < out.length; to += 8, from += 32) {
    for (let p = 0; p < 8; p++) {
      const high = (codesOf(trits[from + p] ?? 0) << 6) | (codesOf(trits[from + p + 8] ?? 0) << 4);
      const low = (codesOf(trits[from + p + 16] ?? 0) << 2) | codesOf(trits[from + p + 24] ?? 0);
      out[to + p] = high | low;
    }
  }
}

/** Of −1, 0, +1, +2 in four bytes, each more by one. */
function codesOf(trits: number): number {
  return ((trits & 0x03030303) + 0x01010101) & 0x03030303;
}

function packBlock(trits: Int8Array, from: number, out: Uint8Array, to: number): void {
  for (let p = 0; p < 32; p++) {
    const i = from + p;
    const high = (((trits[i] ?? 0) + 1) << 6) | (((trits[i + 32] ?? 0) + 1) << 4);
    out[to + p] = high | (((trits[i + 64] ?? 0) + 1) << 2) | ((trits[i + 96] ?? 0) + 1);
  }
}
