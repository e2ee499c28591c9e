/**
 * Writes GGUF version 3 as a stream: header in chunks, then tensor by tensor as its data arrives, so that memory stays
 * bounded by the largest chunk that a caller supplies. Refuses what readers refuse.
 */
import { type ByteStrings, byteStringAt } from "../../base/byte-strings.ts";
import { BitNetError } from "../../base/errors.ts";
import type { PackingId, StoredDenseType } from "../../packing/packing.ts";
import { tensorByteLength, typeIdOf } from "./tensor-types.ts";
import {
  bigCodecs,
  type GgufBigType,
  type GgufElementType,
  type GgufMetadata,
  type GgufNumberType,
  type GgufValue,
  isBigType,
  metadataNumber,
  numberCodecs,
  valueTypeIds,
} from "./values.ts";

export interface GgufTensorInput {
  /** At most 63 bytes of UTF-8: llama.cpp keeps names in 64 with their end. */
  name: string;
  /** Row-major, one to four dimensions. */
  shape: readonly number[];
  /** Any but `hf_u8`; the three I2_S layouts share a number, so that a reader must be told which one it is. */
  type: StoredDenseType | PackingId;
  /** Its bytes, as many as type and shape take: whole from a function, or in pieces. Asked for when its turn comes. */
  data: (() => Uint8Array | Promise<Uint8Array>) | AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export interface GgufInput {
  /** In file order. `general.alignment`, a u32, sets the alignment; 32 without it. */
  metadata: GgufMetadata;
  tensors: readonly GgufTensorInput[];
}

const maxNameBytes = 63;
const chunkBytes = 2 ** 16;
const encoder = new TextEncoder();

/**
 * The bytes of a GGUF file. Names, shapes, types and metadata are checked at once, data as it comes.
 * @throws BitNetError INVALID_ARGUMENT for input that no reader would accept (also while streaming, when a tensor's data
 * has another length than its shape says), FORMAT_UNSUPPORTED for a shape that its type cannot hold.
 */
export function writeGguf(input: GgufInput): AsyncIterable<Uint8Array> {
  const alignment = alignmentOf(input.metadata);
  const tensors = input.tensors.map(plan);
  const names = new Set(tensors.map(({ name }) => name));
  if (names.size < tensors.length) invalid("two tensors have the same name");
  for (const [key, value] of input.metadata) checkMetadata(key, value);
  return stream(input.metadata, tensors, alignment);
}

interface PlannedTensor {
  name: string;
  shape: readonly number[];
  typeId: number;
  byteLength: number;
  data: GgufTensorInput["data"];
}

function plan({ name, shape, type, data }: GgufTensorInput): PlannedTensor {
  const nameBytes = encoder.encode(name).length;
  if (nameBytes === 0 || nameBytes > maxNameBytes || !isWellFormed(name)) {
    invalid(
      `the tensor name ${JSON.stringify(name)} takes ${nameBytes} bytes, expected 1 to ${maxNameBytes} of UTF-8`,
    );
  }
  if (shape.length < 1 || shape.length > 4 || shape.some((n) => !Number.isSafeInteger(n) || n < 1)) {
    invalid(`tensor "${name}" has the shape [${shape.join(", ")}], expected one to four positive dimensions`);
  }
  const typeId =
    typeIdOf(type) ?? invalid(`tensor "${name}": GGUF has no type for ${type}; transcode it first`);
  return { name, shape, typeId, byteLength: tensorByteLength(type, shape), data };
}

function checkMetadata(key: string, entry: GgufValue): void {
  const what = `metadata "${key.slice(0, 80)}"`;
  if (key.length === 0 || encoder.encode(key).length > 65_535 || !isWellFormed(key)) {
    invalid(`the key of ${what} is empty, too long or not Unicode`);
  }
  if (entry.type === "array") checkArray(what, entry);
  else if (entry.type === "u64" || entry.type === "i64") checkFits(what, entry.type, entry.value);
  else if (!["string", "bool", "f32", "f64"].includes(entry.type)) {
    checkFits(what, entry.type as GgufNumberType, entry.value as number);
  }
}

/** Integers only: floats are rounded to their type. */
function checkFits(what: string, type: GgufNumberType | GgufBigType, value: number | bigint): void {
  const view = new DataView(new ArrayBuffer(8));
  elementWriter(type)(view, value);
  const stored = isBigType(type) ? bigCodecs[type].get(view, 0) : numberCodecs[type].get(view, 0);
  if (stored !== value) invalid(`${what}: ${value} does not fit ${type}`);
}

function checkArray(what: string, entry: GgufValue & { type: "array" }): void {
  if (entry.of === "string") return;
  const expected = isBigType(entry.of)
    ? bigCodecs[entry.of].array(0)
    : numberCodecs[storedType(entry.of)].array(0);
  if (entry.value.constructor !== expected.constructor) {
    invalid(
      `${what}: expected ${expected.constructor.name} for ${entry.of}, found ${entry.value.constructor.name}`,
    );
  }
  if (entry.of === "bool" && entry.value.some((element) => element > 1)) {
    invalid(`${what}: expected bools of 0 or 1`);
  }
}

function storedType(of: GgufNumberType | "bool"): GgufNumberType {
  return of === "bool" ? "u8" : of;
}

function alignmentOf(metadata: GgufMetadata): number {
  const alignment = metadataNumber(metadata, "general.alignment") ?? 32;
  const type = metadata.get("general.alignment")?.type ?? "u32";
  const isPowerOfTwo = Number.isInteger(Math.log2(alignment));
  if (type !== "u32" || !isPowerOfTwo || alignment > 2 ** 20) {
    invalid(`general.alignment is ${alignment} (${type}), expected a u32 power of two up to 2^20`);
  }
  return alignment;
}

function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

async function* stream(metadata: GgufMetadata, tensors: readonly PlannedTensor[], alignment: number) {
  let written = 0;
  for (const chunk of inChunks(headerPieces(metadata, tensors, alignment))) {
    written += chunk.length;
    yield chunk;
  }
  for (const tensor of tensors) {
    if (written % alignment !== 0) {
      const padding = new Uint8Array(alignment - (written % alignment));
      written += padding.length;
      yield padding;
    }
    yield* tensorData(tensor);
    written += tensor.byteLength;
  }
  // Readers that map a file want its last tensor padded too.
  if (written % alignment !== 0) yield new Uint8Array(alignment - (written % alignment));
}

async function* tensorData({ name, data, byteLength }: PlannedTensor): AsyncGenerator<Uint8Array> {
  let done = 0;
  const pieces = typeof data === "function" ? [await data()] : data;
  for await (const piece of pieces) {
    done += piece.length;
    if (done > byteLength) break;
    yield piece;
  }
  if (done !== byteLength) {
    invalid(`tensor "${name}" takes ${byteLength} bytes, its data gave ${done > byteLength ? "more" : done}`);
  }
}

/** Joins small pieces into chunks; what is larger than a chunk passes as it is. */
function* inChunks(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
  let chunk = new Uint8Array(chunkBytes);
  let used = 0;
  for (const piece of pieces) {
    if (used + piece.length > chunk.length) {
      if (used > 0) yield chunk.subarray(0, used);
      chunk = new Uint8Array(chunkBytes);
      used = 0;
    }
    if (piece.length > chunk.length) {
      yield piece;
    } else {
      chunk.set(piece, used);
      used += piece.length;
    }
  }
  if (used > 0) yield chunk.subarray(0, used);
}

function* headerPieces(
  metadata: GgufMetadata,
  tensors: readonly PlannedTensor[],
  alignment: number,
): Generator<Uint8Array> {
  yield encoder.encode("GGUF");
  yield u32(3);
  yield u64(tensors.length);
  yield u64(metadata.size);
  for (const [key, value] of metadata) {
    yield* text(key);
    yield u32(valueTypeIds[value.type]);
    yield* valuePieces(value);
  }
  let offset = 0;
  for (const tensor of tensors) {
    yield* text(tensor.name);
    yield u32(tensor.shape.length);
    for (const n of tensor.shape.toReversed()) yield u64(n);
    yield u32(tensor.typeId);
    yield u64(offset);
    offset += Math.ceil(tensor.byteLength / alignment) * alignment;
  }
}

function* valuePieces(value: GgufValue): Generator<Uint8Array> {
  if (value.type === "array") {
    yield u32(valueTypeIds[value.of]);
    if (value.of === "string") {
      yield* stringPieces(value.value);
    } else {
      yield u64(value.value.length);
      yield* numberPieces(value.of, value.value);
    }
  } else if (value.type === "string") {
    yield* text(value.value);
  } else {
    yield* numberPieces(value.type, [typeof value.value === "boolean" ? Number(value.value) : value.value]);
  }
}

function* stringPieces(strings: ByteStrings): Generator<Uint8Array> {
  yield u64(strings.count);
  for (let i = 0; i < strings.count; i++) {
    const bytes = byteStringAt(strings, i);
    yield u64(bytes.length);
    yield bytes;
  }
}

/** Numbers of one type, a few thousand to a piece. */
function* numberPieces(type: GgufElementType, values: ArrayLike<number | bigint>): Generator<Uint8Array> {
  const write = elementWriter(type);
  const bytes = isBigType(type) ? 8 : numberCodecs[storedType(type)].bytes;
  for (let first = 0; first < values.length; first += 4096) {
    const count = Math.min(4096, values.length - first);
    const view = new DataView(new ArrayBuffer(count * bytes));
    for (let i = 0; i < count; i++) write(view, values[first + i] ?? 0, i * bytes);
    yield new Uint8Array(view.buffer);
  }
}

function elementWriter(type: GgufElementType): (view: DataView, value: number | bigint, at?: number) => void {
  if (isBigType(type)) {
    const { set } = bigCodecs[type];
    return (view, value, at = 0) => set(view, at, BigInt(value));
  }
  const { set } = numberCodecs[storedType(type)];
  return (view, value, at = 0) => set(view, at, Number(value));
}

function u32(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, true);
  return new Uint8Array(view.buffer);
}

function u64(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value), true);
  return new Uint8Array(view.buffer);
}

function* text(value: string): Generator<Uint8Array> {
  const bytes = encoder.encode(value);
  yield u64(bytes.length);
  yield bytes;
}

function invalid(problem: string): never {
  throw new BitNetError("INVALID_ARGUMENT", `gguf writer: ${problem}`);
}
