/** Gathers the facts about a model file that `inspect` shows. Works on files that cannot be run, and says what is in the way. */
import {
  BitNetError,
  countParameters,
  describeModel,
  type GgufValue,
  isPackingId,
  type ModelFiles,
  matrixShape,
  readTensor,
  readTokenizer,
  stringAt,
  type TensorInfo,
  type TritHistogram,
  throwIfAborted,
  tritHistogram,
  typeName,
} from "@bitnet.ts/core";
import { plural } from "./format.ts";
import { startProgress } from "./terminal.ts";

export interface TensorReport {
  name: string;
  /** Row-major. */
  shape: readonly number[];
  type: string;
  bytes: number;
  /** Ternary tensors only, when asked for. */
  weights?: TritHistogram;
}

interface TypeReport {
  type: string;
  tensors: number;
  bytes: number;
  /** Why tensors of the type are not read. */
  reason?: string;
}

export interface ModelReport {
  model: string;
  format: string;
  architecture: string | null;
  parameters: number;
  /** Of all tensors. */
  bytes: number;
  /** What keeps the model from running, as far as the headers tell. */
  problems: string[];
  /** GGUF metadata or config.json; long arrays are summarised. */
  metadata: Record<string, unknown>;
  tensors: TensorReport[];
  /** Most bytes first. */
  types: TypeReport[];
}

export interface ReportOptions {
  countsWeights: boolean;
  signal: AbortSignal;
}

/** @throws BitNetError IO_FAILED, FORMAT_TRUNCATED or ABORTED while weights are counted. */
export async function reportModel(
  files: ModelFiles,
  source: string,
  options: ReportOptions,
): Promise<ModelReport> {
  const infos = files.kind === "gguf" ? files.gguf.tensors : files.tensors;
  const metadata = files.kind === "gguf" ? ggufMetadata(files.gguf.metadata) : configMetadata(files.config);
  return {
    model: source,
    format:
      files.kind === "gguf" ? `GGUF version ${files.gguf.version}` : "Hugging Face folder (safetensors)",
    architecture: architectureOf(metadata),
    parameters: countParameters(infos),
    bytes: [...infos.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    problems: findProblems(files, source, infos),
    metadata,
    tensors: await reportTensors([...infos.values()], options),
    types: reportTypes(infos),
  };
}

function findProblems(files: ModelFiles, source: string, infos: ReadonlyMap<string, TensorInfo>): string[] {
  const problems: string[] = [];
  try {
    readTokenizer(files, describeModel(files, source).config);
  } catch (error) {
    if (!(error instanceof BitNetError)) throw error;
    problems.push(error.message);
  }
  const unread = [...infos.values()].filter(({ type }) => typeof type !== "string");
  const [first] = unread;
  if (first !== undefined)
    problems.push(
      `types that are not read: ${plural(unread.length, "tensor")}, the first is "${first.name}"`,
    );
  return problems;
}

async function reportTensors(
  infos: readonly TensorInfo[],
  { countsWeights, signal }: ReportOptions,
): Promise<TensorReport[]> {
  const progress = startProgress("Counting");
  const reports: TensorReport[] = [];
  try {
    for (const info of infos) {
      throwIfAborted(signal);
      const { name, shape, type, byteLength: bytes } = info;
      const weights =
        countsWeights && isPackingId(type)
          ? { weights: tritHistogram(type, await readTensor(info), matrixShape(shape)) }
          : {};
      reports.push({ name, shape, type: typeName(type), bytes, ...weights });
      progress.update(reports.length / infos.length);
    }
  } finally {
    progress.end();
  }
  return reports;
}

function reportTypes(infos: ReadonlyMap<string, TensorInfo>): TypeReport[] {
  const types = new Map<string, TypeReport>();
  for (const { type, byteLength } of infos.values()) {
    const name = typeName(type);
    const known = types.get(name) ?? {
      type: name,
      tensors: 0,
      bytes: 0,
      ...(typeof type === "string" ? {} : { reason: type.reason }),
    };
    types.set(name, { ...known, tensors: known.tensors + 1, bytes: known.bytes + byteLength });
  }
  return [...types.values()].sort((a, b) => b.bytes - a.bytes);
}

function architectureOf(metadata: Record<string, unknown>): string | null {
  const { architectures } = metadata;
  const name =
    metadata["general.architecture"] ?? (Array.isArray(architectures) ? architectures[0] : undefined);
  return typeof name === "string" ? name : null;
}

const listedElements = 8;

function ggufMetadata(metadata: ReadonlyMap<string, GgufValue>): Record<string, unknown> {
  const out: Record<string, unknown> = Object.create(null); // keys come from the file
  for (const [key, value] of metadata) out[key] = plainValue(value);
  return out;
}

function plainValue(entry: GgufValue): unknown {
  if (entry.type !== "array") return plainNumber(entry.value);
  const length = entry.of === "string" ? entry.value.count : entry.value.length;
  const listed = Math.min(length, listedElements);
  const elements = Array.from({ length: listed }, (_, i) =>
    entry.of === "string" ? stringAt(entry.value, i) : plainNumber(entry.value[i] ?? 0),
  );
  return length <= listedElements ? elements : { array: entry.of, length, first: elements };
}

/** JSON has no bigint; beyond 2^53 the digits are kept as text. */
function plainNumber<T>(value: T): T | number | string {
  if (typeof value !== "bigint") return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function configMetadata(config: unknown): Record<string, unknown> {
  return typeof config === "object" && config !== null ? { ...config } : {};
}
