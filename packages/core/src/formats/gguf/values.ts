/**
 * GGUF metadata: the thirteen value types of the format, how they lie in memory, and typed look-ups. Arrays of strings
 * stay bytes. Source: the GGUF specification of ggml.
 */
import type { ByteStrings } from "../../base/byte-strings.ts";
import { BitNetError } from "../../base/errors.ts";

export type NumericArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | BigUint64Array
  | BigInt64Array
  | Float64Array;

export type GgufNumberType = "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64";
export type GgufBigType = "u64" | "i64";
/** What arrays of fixed-size elements hold. */
export type GgufElementType = GgufNumberType | GgufBigType | "bool";

export type GgufValue =
  | { type: GgufNumberType; value: number }
  | { type: GgufBigType; value: bigint }
  | { type: "bool"; value: boolean }
  | { type: "string"; value: string }
  | { type: "array"; of: "string"; value: ByteStrings }
  | { type: "array"; of: "bool"; value: Uint8Array } // 0 or 1 each
  | { type: "array"; of: GgufNumberType | GgufBigType; value: NumericArray };

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Numbers of the types in the file. */
export const valueTypeIds = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

export type GgufValueType = keyof typeof valueTypeIds;

export function valueTypeOf(id: number): GgufValueType | undefined {
  return (Object.keys(valueTypeIds) as GgufValueType[])[id];
}

interface NumberCodec {
  bytes: number;
  get(view: DataView, at: number): number;
  set(view: DataView, at: number, value: number): void;
  array(length: number): Exclude<NumericArray, BigUint64Array | BigInt64Array>;
}

interface BigCodec {
  bytes: number;
  get(view: DataView, at: number): bigint;
  set(view: DataView, at: number, value: bigint): void;
  array(length: number): BigUint64Array | BigInt64Array;
}

export const numberCodecs: Readonly<Record<GgufNumberType, NumberCodec>> = {
  u8: {
    bytes: 1,
    get: (view, at) => view.getUint8(at),
    set: (view, at, value) => view.setUint8(at, value),
    array: (length) => new Uint8Array(length),
  },
  i8: {
    bytes: 1,
    get: (view, at) => view.getInt8(at),
    set: (view, at, value) => view.setInt8(at, value),
    array: (length) => new Int8Array(length),
  },
  u16: {
    bytes: 2,
    get: (view, at) => view.getUint16(at, true),
    set: (view, at, value) => view.setUint16(at, value, true),
    array: (length) => new Uint16Array(length),
  },
  i16: {
    bytes: 2,
    get: (view, at) => view.getInt16(at, true),
    set: (view, at, value) => view.setInt16(at, value, true),
    array: (length) => new Int16Array(length),
  },
  u32: {
    bytes: 4,
    get: (view, at) => view.getUint32(at, true),
    set: (view, at, value) => view.setUint32(at, value, true),
    array: (length) => new Uint32Array(length),
  },
  i32: {
    bytes: 4,
    get: (view, at) => view.getInt32(at, true),
    set: (view, at, value) => view.setInt32(at, value, true),
    array: (length) => new Int32Array(length),
  },
  f32: {
    bytes: 4,
    get: (view, at) => view.getFloat32(at, true),
    set: (view, at, value) => view.setFloat32(at, value, true),
    array: (length) => new Float32Array(length),
  },
  f64: {
    bytes: 8,
    get: (view, at) => view.getFloat64(at, true),
    set: (view, at, value) => view.setFloat64(at, value, true),
    array: (length) => new Float64Array(length),
  },
};

export const bigCodecs: Readonly<Record<GgufBigType, BigCodec>> = {
  u64: {
    bytes: 8,
    get: (view, at) => view.getBigUint64(at, true),
    set: (view, at, value) => view.setBigUint64(at, value, true),
    array: (length) => new BigUint64Array(length),
  },
  i64: {
    bytes: 8,
    get: (view, at) => view.getBigInt64(at, true),
    set: (view, at, value) => view.setBigInt64(at, value, true),
    array: (length) => new BigInt64Array(length),
  },
};

export function isBigType(type: string): type is GgufBigType {
  return Object.hasOwn(bigCodecs, type);
}

function wrongType(key: string, found: GgufValue, expected: string): never {
  const what = found.type === "array" ? `an array of ${found.of}` : found.type;
  throw new BitNetError("FORMAT_INVALID", `gguf: metadata "${key}": expected ${expected}, found ${what}`, {
    details: { key },
  });
}

/**
 * A number of any integer or float type; undefined when the key is absent.
 * @throws BitNetError FORMAT_INVALID for another type, or an integer beyond ±2^53.
 */
export function metadataNumber(metadata: GgufMetadata, key: string): number | undefined {
  const found = metadata.get(key);
  if (found === undefined) return undefined;
  if (typeof found.value === "number") return found.value;
  if (typeof found.value === "bigint") {
    const value = Number(found.value);
    return Number.isSafeInteger(value) ? value : wrongType(key, found, "an integer within ±2^53");
  }
  return wrongType(key, found, "a number");
}

/** @throws BitNetError FORMAT_INVALID for another type. */
export function metadataString(metadata: GgufMetadata, key: string): string | undefined {
  const found = metadata.get(key);
  if (found === undefined || found.type === "string") return found?.value;
  return wrongType(key, found, "a string");
}

/** @throws BitNetError FORMAT_INVALID for another type. */
export function metadataBoolean(metadata: GgufMetadata, key: string): boolean | undefined {
  const found = metadata.get(key);
  if (found === undefined || found.type === "bool") return found?.value;
  return wrongType(key, found, "a bool");
}

/** @throws BitNetError FORMAT_INVALID for another type. */
export function metadataStrings(metadata: GgufMetadata, key: string): ByteStrings | undefined {
  const found = metadata.get(key);
  if (found === undefined) return undefined;
  return found.type === "array" && found.of === "string"
    ? found.value
    : wrongType(key, found, "an array of strings");
}

/** @throws BitNetError FORMAT_INVALID for another type. */
export function metadataNumbers(metadata: GgufMetadata, key: string): NumericArray | undefined {
  const found = metadata.get(key);
  if (found === undefined) return undefined;
  return found.type === "array" && found.of !== "string" && found.of !== "bool"
    ? found.value
    : wrongType(key, found, "an array of numbers");
}
