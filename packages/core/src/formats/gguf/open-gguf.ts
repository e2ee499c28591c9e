/**
 * Opens GGUF models, in one file or split into parts, as metadata and tensors by reference. Reads headers only. A tensor
 * that reaches past the end of its file or into another one is refused here, so that everyone may trust the ranges.
 */
import type { ByteSource } from "../../base/byte-source.ts";
import { BitNetError } from "../../base/errors.ts";
import type { TensorInfo } from "../tensor.ts";
import { type GgufHeader, type RawTensorInfo, readGgufHeader } from "./read-header.ts";
import { type I2sLayout, q2PackingOf, resolveTensorType } from "./tensor-types.ts";
import { type GgufMetadata, metadataNumber } from "./values.ts";

export interface GgufOptions {
  /** The layout of I2_S tensors; "128/32" unless given. */
  i2sLayout?: I2sLayout;
  /** Finds another part of a split model by its file name, in the same place; null when it is not there. */
  openSibling?: (fileName: string) => Promise<ByteSource | null>;
  signal?: AbortSignal;
}

export interface Gguf {
  /** 2 or 3. */
  readonly version: number;
  /** Of the first part. */
  readonly metadata: GgufMetadata;
  /** Of all parts, in file order. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Closes the source and the parts that were opened with it. */
  close(): Promise<void>;
}

/**
 * Opens a GGUF file; any part of a split one opens the whole. On failure the parts are closed again, `source` is not.
 * @throws BitNetError FORMAT_INVALID, FORMAT_TRUNCATED, FORMAT_UNSUPPORTED (a split file without `openSibling`, an
 * old version), FILE_NOT_FOUND (a missing part), IO_FAILED.
 */
export async function openGguf(source: ByteSource, options: GgufOptions = {}): Promise<Gguf> {
  const header = await readGgufHeader(source, "gguf", options.signal);
  const nParts = metadataNumber(header.metadata, "split.count") ?? 1;
  if (nParts <= 1) {
    return gguf(header, collect([tensorsOf(source, header, "gguf", options)]), [source]);
  }
  return openParts(source, header, nParts, options);
}

function gguf(
  header: GgufHeader,
  tensors: ReadonlyMap<string, TensorInfo>,
  sources: readonly ByteSource[],
): Gguf {
  return {
    version: header.version,
    metadata: header.metadata,
    tensors,
    async close() {
      for (const source of sources) await source.close();
    },
  };
}

const partName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s;

async function openParts(
  source: ByteSource,
  header: GgufHeader,
  nParts: number,
  options: GgufOptions,
): Promise<Gguf> {
  const own = metadataNumber(header.metadata, "split.no") ?? -1;
  const fileName = source.name.replace(/^.*[/\\]/s, "");
  const [, stem, number, count] = partName.exec(fileName) ?? [];
  if (Number(number) !== own + 1 || Number(count) !== nParts) {
    invalid(
      `"${fileName}" is part ${own + 1} of ${nParts} by its metadata, expected a name that ends in ${suffix(own, nParts)}`,
    );
  }
  const { openSibling } = options;
  if (openSibling === undefined) {
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `gguf: part ${own + 1} of ${nParts} of a split model, but the other parts cannot be reached from here`,
    );
  }
  const opened: ByteSource[] = [];
  try {
    const headers: GgufHeader[] = [];
    const tensors: TensorInfo[][] = [];
    const sources: ByteSource[] = [];
    for (let part = 0; part < nParts; part++) {
      const name = `${stem}${suffix(part, nParts)}`;
      const partSource = part === own ? source : await openPart(name, openSibling);
      if (part !== own) opened.push(partSource);
      const label = `gguf: ${name}`;
      const partHeader = part === own ? header : await readGgufHeader(partSource, label, options.signal);
      checkPart(partHeader, part, nParts, label);
      headers.push(partHeader);
      sources.push(partSource);
      tensors.push(tensorsOf(partSource, partHeader, label, options));
    }
    const [first = header] = headers;
    const all = collect(tensors);
    checkTotal(first, all.size);
    return gguf(first, all, sources);
  } catch (error) {
    for (const part of opened) await part.close();
    throw error;
  }
}

function suffix(part: number, nParts: number): string {
  const five = (n: number) => String(n).padStart(5, "0");
  return `-${five(part + 1)}-of-${five(nParts)}.gguf`;
}

async function openPart(
  name: string,
  openSibling: NonNullable<GgufOptions["openSibling"]>,
): Promise<ByteSource> {
  const source = await openSibling(name);
  if (source === null) {
    throw new BitNetError(
      "FILE_NOT_FOUND",
      `gguf: the part "${name}" of a split model is missing; download all parts`,
    );
  }
  return source;
}

function checkPart({ metadata }: GgufHeader, part: number, nParts: number, label: string): void {
  const [no, count] = [metadataNumber(metadata, "split.no"), metadataNumber(metadata, "split.count")];
  if (no !== part || count !== nParts) {
    invalid(
      `${label} says that it is part ${no} of ${count}, expected ${part} of ${nParts} (counted from 0)`,
    );
  }
}

function checkTotal({ metadata }: GgufHeader, found: number): void {
  const expected = metadataNumber(metadata, "split.tensors.count");
  if (expected !== undefined && expected !== found) {
    invalid(`all parts together hold ${found} tensors, but split.tensors.count is ${expected}`);
  }
}

/** Resolves types and checks that every tensor lies in the file, aligned and apart from the others. */
function tensorsOf(
  source: ByteSource,
  header: GgufHeader,
  label: string,
  options: GgufOptions,
): TensorInfo[] {
  const { alignment, dataStart } = header;
  const inOrder = [...header.tensors].sort((a, b) => a.dataOffset - b.dataOffset);
  const roomOf = ({ dataOffset }: RawTensorInfo, i: number) => {
    const offset = dataStart + dataOffset;
    const nextOffset = inOrder[i + 1]?.dataOffset;
    const limit = Math.min(source.size, nextOffset === undefined ? source.size : dataStart + nextOffset);
    return Math.max(0, limit - offset);
  };
  const q2 = q2PackingOf(
    inOrder.map((raw, i) => ({ ...raw, room: roomOf(raw, i) })),
    alignment,
  );
  const infos = new Map<RawTensorInfo, TensorInfo>();
  inOrder.forEach((raw, i) => {
    const what = `${label}: tensor "${raw.name}"`;
    if (raw.dataOffset % alignment !== 0)
      invalid(`${what} starts at ${raw.dataOffset}, expected a multiple of ${alignment}`);
    const offset = dataStart + raw.dataOffset;
    const room = roomOf(raw, i);
    const i2sLayout = options.i2sLayout ?? "128/32";
    const { type, byteLength: known } = resolveTensorType(raw.typeId, raw.shape, room, {
      i2sLayout,
      alignment,
      q2,
    });
    const byteLength = known ?? room;
    if (offset + byteLength > source.size) truncated(what, byteLength, offset, source);
    if (byteLength > room)
      invalid(`${what} needs ${byteLength} bytes, but the next tensor starts after ${room}`);
    infos.set(raw, { name: raw.name, shape: raw.shape, type, source, offset, byteLength });
  });
  return header.tensors.flatMap((raw) => infos.get(raw) ?? []);
}

function truncated(what: string, byteLength: number, offset: number, source: ByteSource): never {
  const count = (n: number) => n.toLocaleString("en-US");
  const missing = offset + byteLength - source.size;
  throw new BitNetError(
    "FORMAT_TRUNCATED",
    `${what} needs ${count(byteLength)} bytes, but the file ends ${count(missing)} bytes early; the download may be incomplete`,
    { details: { file: source.name, offset, byteLength, fileSize: source.size } },
  );
}

function collect(parts: readonly (readonly TensorInfo[])[]): ReadonlyMap<string, TensorInfo> {
  const tensors = new Map<string, TensorInfo>();
  for (const tensor of parts.flat()) {
    if (tensors.has(tensor.name)) invalid(`tensor "${tensor.name}" is in two parts`);
    tensors.set(tensor.name, tensor);
  }
  return tensors;
}

function invalid(problem: string): never {
  throw new BitNetError("FORMAT_INVALID", problem.startsWith("gguf") ? problem : `gguf: ${problem}`);
}
