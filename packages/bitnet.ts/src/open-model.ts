/** From a file, folder or URL to a model that is ready to run: opens, checks what there is room for, binds the weights and loads the backend. */
import {
  type Backend,
  BitNetError,
  bindModel,
  blobRoot,
  countParameters,
  describeModel,
  type EmbeddingModules,
  type Executable,
  type FileRoot,
  listTensorTypes,
  type ModelConfig,
  type ModelDescription,
  type ModelFiles,
  makeTokenizer,
  openModelFiles,
  type Program,
  readEmbeddingModules,
  Scheduler,
  type TemplateSource,
  type Tokenizer,
  throwIfAborted,
  tokenizerSource,
} from "@bitnet.ts/core";
import type { GrammarCompiler } from "@bitnet.ts/grammar";
import { createBackend, createGrammarCompiler, openLocation } from "#platform";
import { checkAdapters, openAdapters } from "./adapters.ts";
import type { ChosenBackend } from "./choose-backend.ts";
import { chooseContext, choosePages, fitContext, type RoomWanted } from "./context-room.ts";
import { type ListeningOptions, onLanguage } from "./language-source.ts";
import { bytesPerToken, describeHead, type HeadTable, weightBytes } from "./memory-bytes.ts";
import type { BitNetLoadOptions, ModelInfo } from "./types.ts";

/** Rows of one step: bounds how long prefill keeps others waiting, and the size of activations. */
const maxRows = 512;
/** Share of the loading progress that transcoding the weights takes; the backend takes the rest. */
const bindShare = 0.8;

/** What a model is made of. */
export interface OpenedModel {
  info: ModelInfo;
  headTable: HeadTable;
  tokenizer: Tokenizer;
  chatTemplate: TemplateSource;
  usualTemplate: "bitnet" | null;
  usualAdapter: string | null;
  executable: Executable;
  backend: Backend;
  scheduler: Scheduler;
  modules: EmbeddingModules | BitNetError;
  config: ModelConfig;
  createCompiler: () => Promise<GrammarCompiler>;
  place: string | null;
}

/** @throws BitNetError as `BitNet.load`, but for what is wrong with the options. What was opened is closed, and what was loaded disposed, on any failure. */
export async function openModel(
  source: string | URL | Blob,
  name: string,
  options: BitNetLoadOptions,
): Promise<OpenedModel> {
  const start = performance.now();
  const root: FileRoot = source instanceof Blob ? blobRoot(source) : await openLocation(name, options);
  const files = await openModelFiles(root, {
    ...(options.i2sLayout ? { i2sLayout: options.i2sLayout } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  try {
    const described = { files, root, name, start, model: describeModel(files, name) };
    const onNotice = options.onNotice ?? ((line: string) => console.warn(line));
    let chosen = await createBackend({
      ...(options.backend ? { name: options.backend } : {}),
      ...(options.isa ? { isa: options.isa } : {}),
      ...(options.threads ? { threads: options.threads } : {}),
      ...(options.wasmUrl ? { wasmUrl: options.wasmUrl } : {}),
      activations: options.activations === "f32" ? "f32" : "int8",
      ...(options.screening === undefined ? {} : { screening: options.screening }),
      onNotice,
    });
    for (;;) {
      const { backend, instead } = chosen;
      try {
        return await loadOn(chosen, described, { ...options, onNotice });
      } catch (error) {
        await backend.dispose?.();
        if (instead === null || !isBeyondCard(backend, error)) throw error;
        throwIfAborted(options.signal);
        chosen = await instead(error);
      }
    }
  } finally {
    await files.close();
  }
}

/** A card that was not asked for by name and has no room for this model, cannot run it, or fails. The files are as they should be: its errors name it. */
function isBeyondCard({ name }: Backend, error: unknown): boolean {
  const codes: readonly string[] = ["OUT_OF_MEMORY", "BACKEND_FAILED", "MODEL_UNSUPPORTED"];
  return (
    name === "webgpu" &&
    error instanceof BitNetError &&
    codes.includes(error.code) &&
    error.message.startsWith("webgpu: ")
  );
}

interface DescribedModel {
  files: ModelFiles;
  root: FileRoot;
  name: string;
  model: ModelDescription;
  /** When its loading began. */
  start: number;
}

async function loadOn(
  { backend, passedOver }: ChosenBackend,
  { files, root, name, model, start }: DescribedModel,
  options: BitNetLoadOptions & { onNotice: (line: string) => void },
): Promise<OpenedModel> {
  const { onNotice } = options;
  const usual = {
    ...model.config,
    ...activationGroupOf(options.activations),
    contextLength: chooseContext(model.config, options.contextLength),
  };
  const kvType = options.kvType ?? "f16";
  const room: RoomWanted = {
    weights: weightBytes(model.tensors),
    kvType,
    cacheTokens: options.cacheTokens,
    screening: options.screening ?? true,
    addressBytes: backend.addressBytes ?? Number.POSITIVE_INFINITY,
  };
  const config = { ...usual, contextLength: fitContext(usual, options.contextLength, room) };
  if (config.contextLength < usual.contextLength)
    onNotice(
      `bitnet: a context of ${config.contextLength} tokens instead of ${usual.contextLength}: ${backend.name} has no room for more`,
    );
  const nPages = choosePages(config, room);
  const language = tokenizerSource(files);
  const tokenizer = makeTokenizer(language, config);
  const modules = await readEmbeddingModules(files, model).catch(unsupportedModules);
  const onProgress = options.onProgress ?? (() => {});
  const signal = options.signal ? { signal: options.signal } : {};
  const adapters = await openAdapters(options.adapters ?? {}, config, options.signal);
  let program: Program;
  try {
    program = await bindModel(model, config, {
      onProgress: (fraction) => onProgress(fraction * bindShare),
      adapters: [...adapters.values()],
      streams: backend.streams ?? false,
      ...signal,
    });
    await checkAdapters(adapters, program, name);
  } finally {
    for (const adapter of adapters.values()) await adapter.close();
  }
  const executable = await backend.load(program, {
    kvType,
    nPages,
    maxRows,
    onNotice,
    onProgress: (fraction) => onProgress(bindShare + fraction * (1 - bindShare)),
    ...signal,
  });
  try {
    onProgress(1);
    throwIfAborted(options.signal);
    const scheduler = new Scheduler(executable, {
      ...{ tokenizer, nPages, maxRows },
      adapters: [...adapters.keys()],
    });
    const info = Object.freeze({
      ...describeConfig(model.config),
      source: name,
      contextLength: config.contextLength,
      nParameters: countParameters(model.tensors),
      tensorTypes: listTensorTypes(model.tensors),
      ...describeBackend(backend),
      passedOver: Object.freeze([...passedOver]),
      kvType,
      adapters: Object.freeze([...adapters.keys()]),
      canGenerate: config.hasHead,
      pooling: modules instanceof BitNetError ? null : modules.pooling,
      embeddingSize:
        modules instanceof BitNetError ? null : (modules.dense.at(-1)?.rows ?? config.hiddenSize),
      bytesPerToken: bytesPerToken(program),
      loadMs: performance.now() - start,
    });
    const headTable = describeHead(program);
    (options as ListeningOptions)[onLanguage]?.({
      tokenizer: language,
      template: model.chatTemplate,
      usualTemplate: model.defaultChatTemplate,
    });
    return {
      info,
      headTable,
      tokenizer,
      chatTemplate: model.chatTemplate,
      usualTemplate: model.defaultChatTemplate,
      usualAdapter: options.adapter ?? null,
      executable,
      backend,
      scheduler,
      modules,
      config,
      createCompiler: () =>
        createGrammarCompiler(tokenizer, { vocabSize: config.vocabSize, wasmUrl: options.wasmUrl }),
      place: placeOf(root),
    };
  } catch (error) {
    await executable.dispose();
    throw error;
  }
}

/** What is said for the files; nothing where they are to decide. */
function activationGroupOf(
  rounding: BitNetLoadOptions["activations"],
): Partial<Pick<ModelConfig, "activationGroup">> {
  if (rounding === "int8-token") return { activationGroup: null };
  return rounding === "int8-groups" ? { activationGroup: 128 } : {};
}

/** Where another thread could open the same files; null: nowhere. */
function placeOf(root: FileRoot): string | null {
  return root.kind === "folder" ? root.name : (root.source.path ?? null);
}

/** A model whose modules are beyond us still completes texts. */
function unsupportedModules(error: unknown): BitNetError {
  if (error instanceof BitNetError && error.code.startsWith("FORMAT_")) return error;
  throw error;
}

function describeConfig(config: ModelConfig) {
  const { name, architecture, nLayers, hiddenSize, ffnSize, nHeads, nKvHeads, headDim, vocabSize } = config;
  const trainedContextLength = config.contextLength;
  return {
    ...{ name, architecture, nLayers, hiddenSize, ffnSize, nHeads, nKvHeads, headDim, vocabSize },
    trainedContextLength,
  };
}

function describeBackend({ name, isa, threads, rejected }: Backend) {
  return { backend: name, isa, threads, rejected };
}
