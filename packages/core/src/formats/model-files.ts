/**
 * Opens a model wherever it lies: a GGUF file or a Hugging Face folder. What is inside stays as the format gives it;
 * the model layer interprets it.
 */
import type { ByteSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";
import { describeBytes } from "./describe-bytes.ts";
import { type FileRoot, isPlainFileName } from "./file-root.ts";
import { type Gguf, openGguf } from "./gguf/open-gguf.ts";
import type { I2sLayout } from "./gguf/tensor-types.ts";
import { readJsonFile, readTextFile, type TextFileOptions } from "./json-file.ts";
import { openSafetensors } from "./safetensors/open-safetensors.ts";
import { readSafetensors } from "./safetensors/read-safetensors.ts";
import type { TensorInfo } from "./tensor.ts";

export interface HfFiles {
  kind: "hf";
  /** config.json */
  config: unknown;
  /** tokenizer.json */
  tokenizerJson: unknown;
  /** tokenizer_config.json; a chat_template.jinja beside it is put in as its `chat_template`. */
  tokenizerConfig?: unknown;
  /** generation_config.json */
  generationConfig?: unknown;
  /** What sentence-transformers makes of the model's states: modules.json, and what the folders that it names hold. */
  modules?: SentenceModules;
  tensors: ReadonlyMap<string, TensorInfo>;
  close(): Promise<void>;
}

export interface SentenceModules {
  /** modules.json */
  list: unknown;
  /** By path: config.json of a module, and its tensors. */
  parts: ReadonlyMap<string, { config?: unknown; tensors?: ReadonlyMap<string, TensorInfo> }>;
  /** config_sentence_transformers.json */
  prompts?: unknown;
}

export type ModelFiles = { kind: "gguf"; gguf: Gguf; close(): Promise<void> } | HfFiles;

export interface ModelFilesOptions {
  /** The layout of I2_S tensors of a GGUF file; "128/32" unless given. */
  i2sLayout?: I2sLayout;
  signal?: AbortSignal;
}

/** What configurations other than a vocabulary may hold. */
const maxConfigMiB = 16;
/** Far more than a chain of pooling, dense layers and normalisation has. */
const maxModules = 16;

/**
 * Opens a model; headers and JSON files are read, tensors are not. The result owns the sources: close it. On failure
 * everything is closed, the root's own source included.
 * @throws BitNetError FILE_NOT_FOUND, IO_FAILED, FORMAT_INVALID, FORMAT_TRUNCATED, FORMAT_UNSUPPORTED, ABORTED.
 */
export async function openModelFiles(root: FileRoot, options: ModelFilesOptions = {}): Promise<ModelFiles> {
  return root.kind === "file" ? openFile(root, options) : openFolder(root, options.signal);
}

async function openFile(root: FileRoot & { kind: "file" }, options: ModelFilesOptions): Promise<ModelFiles> {
  const { source, openSibling } = root;
  try {
    await refuseSafetensors(source);
    const gguf = await openGguf(source, {
      ...options,
      ...(openSibling === undefined ? {} : { openSibling }),
    });
    return { kind: "gguf", gguf, close: () => gguf.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function refuseSafetensors(source: ByteSource): Promise<void> {
  const found = describeBytes(await source.read(0, Math.min(source.size, 100)));
  if (found !== "a safetensors file") return;
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `${source.name}: a safetensors file alone holds no configuration; give the folder that also has its config.json`,
  );
}

async function openFolder(
  root: FileRoot & { kind: "folder" },
  signal: AbortSignal | undefined,
): Promise<ModelFiles> {
  const config = await requiredJson(root, "config.json", { maxMiB: maxConfigMiB, signal });
  refuseSentencePieceAlone(root);
  const tokenizerJson = await requiredJson(root, "tokenizer.json", { signal });
  const tokenizerConfig = await readTokenizerConfig(root, signal);
  const generationConfig = await optional(root, "generation_config.json", (source) =>
    readJsonFile(source, { maxMiB: maxConfigMiB, signal }),
  );
  const { tensors, close } = await openSafetensors((fileName) => root.open(fileName), signal, root.names);
  const closers = [close];
  const modules = await readModules(root, closers, signal).catch(async (error) => {
    await closeAll(closers);
    throw error;
  });
  return {
    kind: "hf",
    config,
    tokenizerJson,
    ...(tokenizerConfig === undefined ? {} : { tokenizerConfig }),
    ...(generationConfig === undefined ? {} : { generationConfig }),
    ...(modules === undefined ? {} : { modules }),
    tensors,
    close: () => closeAll(closers),
  };
}

async function closeAll(closers: readonly (() => Promise<void>)[]): Promise<void> {
  for (const close of closers) await close();
}

/** What modules.json names is read where it is there; whether it has to be is decided by who uses it. */
async function readModules(
  root: FileRoot & { kind: "folder" },
  closers: (() => Promise<void>)[],
  signal: AbortSignal | undefined,
): Promise<SentenceModules | undefined> {
  const json = (fileName: string) =>
    optional(root, fileName, (source) => readJsonFile(source, { maxMiB: maxConfigMiB, signal }));
  const list = await json("modules.json");
  const prompts = await json("config_sentence_transformers.json");
  if (list === undefined) return undefined;
  const parts = new Map<string, { config?: unknown; tensors?: ReadonlyMap<string, TensorInfo> }>();
  for (const entry of Array.isArray(list) ? list.slice(0, maxModules) : []) {
    const path: unknown = (entry as { path?: unknown } | null)?.path;
    if (typeof path !== "string" || !isPlainFileName(path)) continue;
    const config = await json(`${path}/config.json`);
    const source = await root.open(`${path}/model.safetensors`);
    if (source !== null) closers.push(() => source.close());
    const tensors = source === null ? undefined : await readSafetensors(source, signal);
    parts.set(path, {
      ...(config === undefined ? {} : { config }),
      ...(tensors === undefined ? {} : { tensors }),
    });
  }
  return { list, parts, ...(prompts === undefined ? {} : { prompts }) };
}

async function requiredJson(
  root: FileRoot & { kind: "folder" },
  fileName: string,
  options: TextFileOptions,
): Promise<unknown> {
  const value = await optional(root, fileName, async (source) => ({
    json: await readJsonFile(source, options),
  }));
  if (value !== undefined) return value.json;
  // A folder that cannot be listed, such as one behind an address, may hold a GGUF file whose name nobody knows.
  const advice =
    root.names === undefined
      ? "; a model in GGUF is opened by the address of its .gguf file"
      : "; download all files of the model";
  throw new BitNetError(
    "FILE_NOT_FOUND",
    `${root.name}: expected ${fileName} (a Hugging Face model folder), found none${advice}`,
  );
}

function refuseSentencePieceAlone({ name, names = [] }: FileRoot & { kind: "folder" }): void {
  if (names.includes("tokenizer.json") || !names.includes("tokenizer.model")) return;
  throw new BitNetError(
    "FILE_NOT_FOUND",
    `${name}: expected tokenizer.json, found SentencePiece's tokenizer.model alone; transformers makes the one of the other: ` +
      "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
  );
}

async function readTokenizerConfig(
  root: FileRoot & { kind: "folder" },
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const options = { maxMiB: maxConfigMiB, signal };
  const config = await optional(root, "tokenizer_config.json", (source) => readJsonFile(source, options));
  const template = await optional(root, "chat_template.jinja", (source) => readTextFile(source, options));
  if (template === undefined) return config;
  return { ...(typeof config === "object" ? config : {}), chat_template: template };
}

async function optional<T>(
  root: FileRoot & { kind: "folder" },
  fileName: string,
  read: (source: ByteSource) => Promise<T>,
): Promise<T | undefined> {
  const source = await root.open(fileName);
  if (source === null) return undefined;
  try {
    return await read(source);
  } finally {
    await source.close();
  }
}
