/**
 * Reads the header of one safetensors file: a u64 length, then JSON with a type, shape and byte range per tensor. Ranges
 * are checked against shapes, the file and each other before anyone sees them. Source: the safetensors format
 * description of Hugging Face.
 */
import type { ByteSource } from "../../base/byte-source.ts";
import { BitNetError } from "../../base/errors.ts";
import { createPause } from "../../base/event-loop.ts";
import { showValue } from "../../base/show-value.ts";
import { describeBytes } from "../describe-bytes.ts";
import { decodeText } from "../json-file.ts";
import { JsonReader } from "../json-reader.ts";
import type { TensorInfo, TensorType } from "../tensor.ts";

const caps = { headerBytes: 50_000_000, tensors: 2 ** 18, dimensions: 8 } as const;

/** Bytes per element of the types of the format; null where an element has no whole number of bytes. */
const elementBytes: Readonly<Record<string, number | null>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  F6_E2M3: null,
  F6_E3M2: null,
  F4: null,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
  C64: 8,
};

const readTypes: Readonly<Record<string, TensorType>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  U8: "u8",
  I8: "i8",
};

/**
 * Tensors by name. A `U8` matrix is read as `hf_u8` and gets the shape of its weights, [4 · rows, cols].
 * @throws BitNetError FORMAT_INVALID or FORMAT_TRUNCATED, with the file and the position or tensor; ABORTED.
 */
export async function readSafetensors(
  source: ByteSource,
  signal?: AbortSignal,
): Promise<Map<string, TensorInfo>> {
  const label = `safetensors: ${source.name}`;
  const start = await source.read(0, Math.min(source.size, 100));
  const headerBytes = headerLength(start, source.size, label);
  const dataStart = 8 + headerBytes;
  const text = decodeText(await source.read(8, headerBytes), `${label}: header`);
  const entries = await parseHeader(text, label, createPause(signal));
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of entries) {
    tensors.set(name, tensorInfo(name, entry, { source, dataStart, label }));
  }
  checkOverlap([...tensors.values()], label);
  return tensors;
}

function headerLength(start: Uint8Array, fileSize: number, label: string): number {
  const notSafetensors = () =>
    fail("FORMAT_INVALID", `${label}: expected a safetensors file, found ${describeBytes(start)}`);
  if (start.length < 10) return notSafetensors();
  const length = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true);
  if (start[8] !== 0x7b || length > BigInt(caps.headerBytes) || length < 2n) return notSafetensors();
  if (Number(length) > fileSize - 8) {
    const missing = Number(length) - (fileSize - 8);
    fail(
      "FORMAT_TRUNCATED",
      `${label}: the header needs ${length} bytes, but the file ends ${missing} bytes early; the download may be incomplete`,
    );
  }
  return Number(length);
}

interface HeaderEntry {
  dtype: string;
  shape: number[];
  begin: number;
  end: number;
}

async function parseHeader(
  text: string,
  label: string,
  pause: () => Promise<void>,
): Promise<Map<string, HeaderEntry>> {
  const reader = new JsonReader(text, `${label}: header`);
  const entries = new Map<string, HeaderEntry>();
  await reader.object(pause, async (key) => {
    if (key === "__metadata__") {
      await reader.object(pause, () => void reader.string());
    } else {
      if (entries.size === caps.tensors) reader.fail(`more than ${caps.tensors} tensors`);
      entries.set(key, await parseEntry(reader, key, pause));
    }
  });
  reader.end();
  return entries;
}

async function parseEntry(
  reader: JsonReader,
  name: string,
  pause: () => Promise<void>,
): Promise<HeaderEntry> {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let range: number[] | undefined;
  await reader.object(pause, async (key) => {
    if (key === "dtype") dtype = reader.string();
    else if (key === "shape") shape = counts(reader, caps.dimensions);
    else if (key === "data_offsets") range = counts(reader, 2);
    else await reader.skip(pause);
  });
  const [begin, end] = range ?? [];
  if (dtype === undefined || shape === undefined || begin === undefined || end === undefined) {
    return reader.fail(`tensor ${showValue(name)} lacks its dtype, shape or two data_offsets`);
  }
  return { dtype, shape, begin, end };
}

function counts(reader: JsonReader, cap: number): number[] {
  const values: number[] = [];
  reader.array(() => {
    if (values.length === cap) reader.fail(`expected at most ${cap} numbers`);
    values.push(reader.count());
  });
  return values;
}

interface FileContext {
  source: ByteSource;
  dataStart: number;
  label: string;
}

function tensorInfo(name: string, entry: HeaderEntry, { source, dataStart, label }: FileContext): TensorInfo {
  const { dtype, shape, begin, end } = entry;
  const what = `${label}: tensor "${name}"`;
  const nElements = shape.reduce((product, n) => product * n, 1);
  if (!Number.isSafeInteger(nElements))
    fail("FORMAT_INVALID", `${what} has the impossible shape [${shape.join(", ")}]`);
  if (begin > end) fail("FORMAT_INVALID", `${what} ends at ${end}, before it starts at ${begin}`);
  const perElement = elementBytes[dtype] ?? null;
  if (perElement !== null && end - begin !== nElements * perElement) {
    fail(
      "FORMAT_INVALID",
      `${what} holds ${end - begin} bytes, but [${shape.join(", ")}] of ${dtype} takes ${nElements * perElement}`,
    );
  }
  const offset = dataStart + begin;
  const byteLength = end - begin;
  const missing = offset + byteLength - source.size;
  if (missing > 0) {
    const count = (n: number) => n.toLocaleString("en-US");
    fail(
      "FORMAT_TRUNCATED",
      `${what} needs ${count(byteLength)} bytes, but the file ends ${count(missing)} bytes early; the download may be incomplete`,
    );
  }
  return { name, ...typeAndShape(dtype, shape), source, offset, byteLength };
}

function typeAndShape(dtype: string, shape: number[]): Pick<TensorInfo, "type" | "shape"> {
  const [rows, cols] = shape;
  if (dtype === "U8" && shape.length === 2 && rows !== undefined && cols !== undefined && rows * cols > 0) {
    return { type: "hf_u8", shape: [4 * rows, cols] };
  }
  const reason =
    dtype === "U32"
      ? "MLX packs weights in it; take the model's GGUF file, or a folder whose weights are not packed for MLX"
      : dtype in elementBytes
        ? "not a type of ternary models"
        : "an unknown safetensors type";
  return { type: readTypes[dtype] ?? { unknown: dtype, reason }, shape };
}

function checkOverlap(tensors: TensorInfo[], label: string): void {
  const inOrder = tensors.filter(({ byteLength }) => byteLength > 0).sort((a, b) => a.offset - b.offset);
  inOrder.forEach((tensor, i) => {
    const before = inOrder[i - 1];
    if (before !== undefined && before.offset + before.byteLength > tensor.offset) {
      fail("FORMAT_INVALID", `${label}: the tensors "${before.name}" and "${tensor.name}" overlap`);
    }
  });
}

function fail(code: "FORMAT_INVALID" | "FORMAT_TRUNCATED", message: string): never {
  throw new BitNetError(code, message);
}
