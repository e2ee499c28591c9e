/**
 * Parses the header of one GGUF file (version 2 or 3): metadata, then tensor infos. Every count, length and product is
 * checked against the file before it is used. Knows nothing of tensor types and data. Source: the GGUF specification.
 */
import type { ByteSource } from "../../base/byte-source.ts";
import type { ByteStrings } from "../../base/byte-strings.ts";
import { describeBytes } from "../describe-bytes.ts";
import { HeaderCursor } from "./header-cursor.ts";
import {
  bigCodecs,
  type GgufBigType,
  type GgufNumberType,
  type GgufValue,
  type GgufValueType,
  isBigType,
  type NumericArray,
  numberCodecs,
  valueTypeOf,
} from "./values.ts";

const caps = {
  keyBytes: 65_535,
  stringBytes: 16 * 2 ** 20,
  arrayElements: 64 * 2 ** 20,
  metadata: 2 ** 16,
  tensors: 2 ** 18,
  dimensions: 4,
  alignment: 2 ** 20,
} as const;

const magic = 0x46554747; // "GGUF", little-endian
const defaultAlignment = 32;

export interface RawTensorInfo {
  name: string;
  /** Row-major: the file's dimensions reversed. */
  shape: number[];
  typeId: number;
  /** From the start of the data, in bytes. */
  dataOffset: number;
}

export interface GgufHeader {
  version: number;
  alignment: number;
  metadata: Map<string, GgufValue>;
  tensors: RawTensorInfo[];
  /** Where tensor data starts in the file, in bytes; past its end in a file without tensors. */
  dataStart: number;
}

/** @throws BitNetError FORMAT_INVALID, FORMAT_TRUNCATED, FORMAT_UNSUPPORTED or ABORTED. */
export async function readGgufHeader(
  source: ByteSource,
  label: string,
  signal?: AbortSignal,
): Promise<GgufHeader> {
  const cursor = new HeaderCursor(source, label, signal);
  await checkMagic(cursor, source);
  await cursor.need(20, "the header");
  const version = readVersion(cursor);
  const nTensors = cursor.readCount("the number of tensors", 24);
  const nMetadata = cursor.readCount("the number of metadata entries", 13);
  checkCap(cursor, "tensors", nTensors, caps.tensors);
  checkCap(cursor, "metadata entries", nMetadata, caps.metadata);

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < nMetadata; i++) {
    const key = await readName(cursor, "a metadata key", caps.keyBytes);
    if (metadata.has(key)) cursor.fail("FORMAT_INVALID", `metadata "${key}" comes twice`);
    metadata.set(key, await readValue(cursor, key));
  }
  const alignment = alignmentOf(cursor, metadata);
  const tensors: RawTensorInfo[] = [];
  for (let i = 0; i < nTensors; i++) tensors.push(await readTensorInfo(cursor, i));
  checkNames(cursor, tensors);
  return {
    version,
    alignment,
    metadata,
    tensors,
    dataStart: Math.ceil(cursor.offset / alignment) * alignment,
  };
}

async function checkMagic(cursor: HeaderCursor, source: ByteSource): Promise<void> {
  const start = await source.read(0, Math.min(source.size, 100));
  const isGguf =
    start.length >= 4 && new DataView(start.buffer, start.byteOffset).getUint32(0, true) === magic;
  if (!isGguf) cursor.fail("FORMAT_INVALID", `expected a GGUF file, found ${describeBytes(start)}`);
  await cursor.need(4, "the magic number");
  cursor.readU32();
}

function readVersion(cursor: HeaderCursor): number {
  const version = cursor.readU32();
  if (version === 2 || version === 3) return version;
  if (version !== 0 && (version & 0xffff) === 0) {
    cursor.fail(
      "FORMAT_UNSUPPORTED",
      "a big-endian file, expected little-endian; convert it or download another",
    );
  }
  return cursor.fail("FORMAT_UNSUPPORTED", `version ${version}, expected 2 or 3; convert the file again`);
}

function checkCap(cursor: HeaderCursor, what: string, found: number, cap: number): void {
  if (found > cap) cursor.fail("FORMAT_INVALID", `${found} ${what}, expected at most ${cap}`);
}

function alignmentOf(cursor: HeaderCursor, metadata: ReadonlyMap<string, GgufValue>): number {
  const found = metadata.get("general.alignment");
  if (found === undefined) return defaultAlignment;
  const alignment = found.type === "u32" ? found.value : 0;
  if (alignment < 1 || alignment > caps.alignment || (alignment & (alignment - 1)) !== 0) {
    const shown = found.type === "array" ? "an array" : String(found.value);
    cursor.fail(
      "FORMAT_INVALID",
      `general.alignment is ${shown}, expected a u32 power of two up to ${caps.alignment}`,
    );
  }
  return alignment;
}

async function readName(cursor: HeaderCursor, what: string, cap: number): Promise<string> {
  const length = await readLength(cursor, what, cap);
  return cursor.readText(length, what);
}

/** Reads a length and brings that many bytes into the window. */
async function readLength(cursor: HeaderCursor, what: string, cap: number): Promise<number> {
  if (!cursor.has(8)) await cursor.need(8, what);
  const length = cursor.readCount(what, 1);
  checkCap(cursor, `bytes in ${what}`, length, cap);
  if (!cursor.has(length)) await cursor.need(length, what);
  return length;
}

async function readValue(cursor: HeaderCursor, key: string): Promise<GgufValue> {
  const what = `metadata "${key}"`;
  const type = await readValueType(cursor, what);
  if (type === "array") return readArray(cursor, what);
  if (type === "string") {
    return { type, value: cursor.readText(await readLength(cursor, what, caps.stringBytes)) };
  }
  if (!cursor.has(8)) await cursor.need(sizeOf(type), what);
  if (type === "bool") return { type, value: readBool(cursor, what) === 1 };
  if (isBigType(type)) return { type, value: cursor.readWith(8, bigCodecs[type].get) };
  return { type, value: cursor.readWith(numberCodecs[type].bytes, numberCodecs[type].get) };
}

async function readValueType(cursor: HeaderCursor, what: string): Promise<GgufValueType> {
  if (!cursor.has(4)) await cursor.need(4, what);
  const id = cursor.readU32();
  return valueTypeOf(id) ?? cursor.fail("FORMAT_INVALID", `${what} is of the unknown type ${id}`);
}

function readBool(cursor: HeaderCursor, what: string): number {
  const byte = cursor.readWith(1, numberCodecs.u8.get);
  return byte < 2 ? byte : cursor.fail("FORMAT_INVALID", `${what}: a bool is ${byte}, expected 0 or 1`);
}

/** Bytes that one element takes; of strings, at least. */
function sizeOf(type: Exclude<GgufValueType, "array">): number {
  if (type === "bool") return 1;
  if (type === "string" || isBigType(type)) return 8;
  return numberCodecs[type].bytes;
}

async function readArray(cursor: HeaderCursor, what: string): Promise<GgufValue> {
  const of = await readValueType(cursor, what);
  if (of === "array") return cursor.fail("FORMAT_UNSUPPORTED", `${what} is an array of arrays`);
  if (!cursor.has(8)) await cursor.need(8, what);
  const count = cursor.readCount(`the length of ${what}`, sizeOf(of));
  checkCap(cursor, `elements in ${what}`, count, caps.arrayElements);
  if (of === "string") return { type: "array", of, value: await readStrings(cursor, what, count) };
  if (of === "bool") return { type: "array", of, value: await readBools(cursor, what, count) };
  return { type: "array", of, value: await readNumbers(cursor, what, of, count) };
}

/** Elements brought into the window at a time. */
const arrayStep = 2 ** 16;

async function readNumbers(
  cursor: HeaderCursor,
  what: string,
  of: GgufNumberType | GgufBigType,
  count: number,
): Promise<NumericArray> {
  const bytes = sizeOf(of);
  const [values, readElement] = isBigType(of) ? bigArray(cursor, of, count) : numberArray(cursor, of, count);
  for (let done = 0; done < count; done += arrayStep) {
    const step = Math.min(arrayStep, count - done);
    await cursor.need(step * bytes, what);
    for (let i = done; i < done + step; i++) readElement(i);
  }
  return values;
}

type ArrayReader = [NumericArray, (index: number) => void];

function numberArray(cursor: HeaderCursor, of: GgufNumberType, count: number): ArrayReader {
  const { array, bytes, get } = numberCodecs[of];
  const values = array(count);
  return [values, (i) => (values[i] = cursor.readWith(bytes, get))];
}

function bigArray(cursor: HeaderCursor, of: GgufBigType, count: number): ArrayReader {
  const { array, bytes, get } = bigCodecs[of];
  const values = array(count);
  return [values, (i) => (values[i] = cursor.readWith(bytes, get))];
}

async function readBools(cursor: HeaderCursor, what: string, count: number): Promise<Uint8Array> {
  const values = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    if (!cursor.has(1)) await cursor.need(1, what);
    values[i] = readBool(cursor, what);
  }
  return values;
}

async function readStrings(cursor: HeaderCursor, what: string, count: number): Promise<ByteStrings> {
  const offsets = new Uint32Array(count + 1);
  let bytes = new Uint8Array(Math.min(cursor.remaining, 16 * count));
  let used = 0;
  for (let i = 0; i < count; i++) {
    // Awaiting only at the window's edge: a vocabulary has hundreds of thousands of strings.
    const length =
      cursor.readLengthInWindow(caps.stringBytes) ?? (await readLength(cursor, what, caps.stringBytes));
    if (used + length > bytes.length) {
      checkCap(cursor, `bytes of strings in ${what}`, used + length, 2 ** 32 - 1);
      const larger = new Uint8Array(Math.max(used + length, Math.min(2 * used, used + cursor.remaining)));
      larger.set(bytes.subarray(0, used));
      bytes = larger;
    }
    bytes.set(cursor.readBytes(length), used);
    used += length;
    offsets[i + 1] = used;
  }
  return { bytes: bytes.subarray(0, used), offsets, count };
}

async function readTensorInfo(cursor: HeaderCursor, index: number): Promise<RawTensorInfo> {
  const name = await readName(cursor, `the name of tensor ${index}`, caps.keyBytes);
  const what = `tensor "${name}"`;
  await cursor.need(4, what);
  const nDimensions = cursor.readU32();
  checkCap(cursor, `dimensions of ${what}`, nDimensions, caps.dimensions);
  await cursor.need(8 * nDimensions + 12, what);
  const shape = Array.from({ length: nDimensions }, () => cursor.readU64()).reverse();
  const nElements = shape.reduce((product, n) => product * n, 1);
  // A product with a zero in it says nothing of its factors.
  if (!shape.every(Number.isSafeInteger) || !Number.isSafeInteger(nElements)) {
    cursor.fail("FORMAT_INVALID", `${what} has the impossible shape [${shape.join(", ")}]`);
  }
  const typeId = cursor.readU32();
  const dataOffset = cursor.readU64();
  if (!Number.isFinite(dataOffset))
    cursor.fail("FORMAT_INVALID", `${what} has an impossible offset, beyond 2^53`);
  return { name, shape, typeId, dataOffset };
}

function checkNames(cursor: HeaderCursor, tensors: readonly RawTensorInfo[]): void {
  const names = new Set<string>();
  for (const { name } of tensors) {
    if (names.has(name)) cursor.fail("FORMAT_INVALID", `tensor "${name}" comes twice`);
    names.add(name);
  }
}
