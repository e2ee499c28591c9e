/**
 * A loaded model: the public class of bitnet.ts. It joins formats, model, backend and scheduler; everything that differs
 * between platforms comes from #platform. Long, because it is one class with everything that a model offers; how each of it is done stands elsewhere.
 */

import {
  type Backend,
  BitNetError,
  bindModel,
  blobRoot,
  type ChatTemplate,
  chatTemplateFor,
  countParameters,
  describeModel,
  type EmbeddingModules,
  type EncodedPrompt,
  type EncodeJob,
  type Executable,
  encodeJobSize,
  type FileRoot,
  type GenerateOptions,
  listTensorTypes,
  longPrompt,
  type ModelConfig,
  makeTokenizer,
  openModelFiles,
  type Program,
  readEmbeddingModules,
  runEncodeJob,
  Scheduler,
  screeningOf,
  type TemplateSource,
  type Tokenizer,
  type TokenMask,
  throwIfAborted,
  tokenizerSource,
} from "@bitnet.ts/core";
import type { Grammar, GrammarCompiler, GrammarSpec } from "@bitnet.ts/grammar";
import { createBackend, createGrammarCompiler, createPromptEncoder, openLocation } from "#platform";
import { checkAdapters, openAdapters } from "./adapters.ts";
import {
  type AnswerOptions,
  FormedGeneration,
  type SchemaOptions,
  takeForm,
  type ValueGeneration,
} from "./answer-form.ts";
import { Chat, type ChatOptions } from "./chat.ts";
import { checkSource, namingSource } from "./check-source.ts";
import { chooseContext, choosePages, fitContext, type RoomWanted } from "./context-room.ts";
import {
  type EmbeddingModel,
  type EmbeddingResult,
  type EmbedOptions,
  embedTexts,
  type Quantization,
  type RankedText,
  rankTexts,
  type TextToEmbed,
} from "./embed.ts";
import { describedSource, type Generation, type GenerationSource, SingleGeneration } from "./generation.ts";
import { type ListeningOptions, onLanguage } from "./language-source.ts";
import { checkOptions } from "./load-options.ts";
import { bytesPerToken, describeHead, type HeadTable, weightBytes } from "./memory-bytes.ts";
import { checkPromptIds } from "./prompt-ids.ts";
import { queuedSource } from "./queued-source.ts";
import type { FromSchema, JsonSchema } from "./schema-type.ts";
import type { BitNetLoadOptions, ModelInfo, ModelStats } from "./types.ts";

/** Rows of one step: bounds how long prefill keeps others waiting, and the size of activations. */
const maxRows = 512;
/** Share of the loading progress that transcoding the weights takes; the backend takes the rest. */
const bindShare = 0.8;

/**
 * @example
 * const model = await BitNet.load("model.gguf");
 * for await (const piece of model.generate("Once", { maxTokens: 64, seed: 1 })) process.stdout.write(piece.text);
 * await model.dispose();
 */
export class BitNet {
  /** Facts about the model; `bytesPerToken` follows what decoding reads by now. */
  readonly info: ModelInfo;
  private readonly headTable: HeadTable;
  readonly tokenizer: Tokenizer;
  private readonly templateSource: TemplateSource;
  private readonly usualTemplate: "bitnet" | null;
  private compiledTemplate: ChatTemplate | null = null;
  private readonly usualAdapter: string | null;
  private readonly executable: Executable;
  private readonly scheduler: Scheduler;
  /** How its files want states to become embeddings, or why they cannot be followed. */
  private readonly modules: EmbeddingModules | BitNetError;
  private readonly config: ModelConfig;
  private readonly createCompiler: () => Promise<GrammarCompiler>;
  /** Null where long prompts are encoded on this thread. */
  private readonly encoder: ReturnType<typeof createPromptEncoder>;
  /** Made when the first form of an answer is asked for. */
  private compiler: Promise<GrammarCompiler> | null = null;
  private disposal: Promise<void> | null = null;

  private constructor(parts: {
    info: ModelInfo;
    headTable: HeadTable;
    tokenizer: Tokenizer;
    chatTemplate: TemplateSource;
    usualTemplate: "bitnet" | null;
    usualAdapter: string | null;
    executable: Executable;
    scheduler: Scheduler;
    modules: EmbeddingModules | BitNetError;
    config: ModelConfig;
    createCompiler: () => Promise<GrammarCompiler>;
    place: string | null;
  }) {
    const bytesPerToken = { enumerable: true, get: () => this.bytesPerToken(parts.info.bytesPerToken) };
    this.info = Object.freeze(Object.defineProperties({ ...parts.info }, { bytesPerToken }));
    this.headTable = parts.headTable;
    this.tokenizer = parts.tokenizer;
    this.templateSource = parts.chatTemplate;
    this.usualTemplate = parts.usualTemplate;
    this.usualAdapter = parts.usualAdapter;
    this.executable = parts.executable;
    this.scheduler = parts.scheduler;
    this.modules = parts.modules;
    this.config = parts.config;
    this.createCompiler = parts.createCompiler;
    this.encoder = createPromptEncoder(this, parts.place);
    encoders.set(this, (job, signal) => this.encode(job, signal));
  }

  /**
   * Loads a model.
   * @param source Path or URL of a GGUF file or of a folder in Hugging Face layout, or a Blob with a GGUF file; "tiny" for the small
   * model that comes with the package (a file of that name wins).
   * @throws BitNetError FILE_NOT_FOUND, IO_FAILED, FORMAT_…, MODEL_…, TOKENIZER_INVALID for the files; INVALID_ARGUMENT,
   * CONTEXT_EXCEEDED or OUT_OF_MEMORY for the options; BACKEND_UNAVAILABLE for a forced backend; ABORTED.
   */
  static async load(source: string | URL | Blob, options: BitNetLoadOptions = {}): Promise<BitNet> {
    checkSource(source);
    checkOptions(options);
    throwIfAborted(options.signal);
    const name = source instanceof Blob ? "blob" : String(source);
    try {
      return await BitNet.open(source, name, options);
    } catch (error) {
      throw namingSource(error, name);
    }
  }

  private static async open(
    source: string | URL | Blob,
    name: string,
    options: BitNetLoadOptions,
  ): Promise<BitNet> {
    const start = performance.now();
    const root: FileRoot = source instanceof Blob ? blobRoot(source) : await openLocation(name, options);
    const files = await openModelFiles(root, {
      ...(options.i2sLayout ? { i2sLayout: options.i2sLayout } : {}),
      ...(options.signal ? { signal: options.signal } : {}),
    });
    try {
      const model = describeModel(files, name);
      const usual = { ...model.config, contextLength: chooseContext(model.config, options.contextLength) };
      const kvType = options.kvType ?? "f16";
      const onNotice = options.onNotice ?? ((line: string) => console.warn(line));
      const backend = await createBackend({
        ...(options.backend ? { name: options.backend } : {}),
        ...(options.isa ? { isa: options.isa } : {}),
        ...(options.threads ? { threads: options.threads } : {}),
        ...(options.wasmUrl ? { wasmUrl: options.wasmUrl } : {}),
        ...(options.activations ? { activations: options.activations } : {}),
        ...(options.screening === undefined ? {} : { screening: options.screening }),
        onNotice,
      });
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
        return new BitNet({
          info,
          headTable,
          tokenizer,
          chatTemplate: model.chatTemplate,
          usualTemplate: model.defaultChatTemplate,
          usualAdapter: options.adapter ?? null,
          executable,
          scheduler,
          modules,
          config,
          createCompiler: () =>
            createGrammarCompiler(tokenizer, { vocabSize: config.vocabSize, wasmUrl: options.wasmUrl }),
          place: placeOf(root),
        });
      } catch (error) {
        await executable.dispose();
        throw error;
      }
    } finally {
      await files.close();
    }
  }

  /**
   * Continues a text, or token ids. A text gets the beginning-of-text token when the model wants it, and control tokens
   * written out in it stay ordinary text; ids are taken as they are. All generations of a model run in one batch. With `schema`, `json`,
   * `pattern` or `choices` the answer has that form, token by token; what is wrong with a form, the result fails with.
   * @example
   * const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };
   * const { name } = await model.generate("A person:", { schema }).value;
   * @throws BitNetError INVALID_ARGUMENT for options, an empty prompt (a text that is empty, where the model wants no beginning-of-text
   * token) or ids that are none, CONTEXT_EXCEEDED for a prompt that does not fit, MODEL_UNSUPPORTED for a model that only embeds, DISPOSED.
   * A text of 32 Ki characters and more is encoded on another thread; what is wrong with it, its result fails with.
   */
  generate<const S extends JsonSchema>(
    prompt: string | ArrayLike<number>,
    options: SchemaOptions<S>,
  ): ValueGeneration<FromSchema<S>>;
  generate(
    prompt: string | ArrayLike<number>,
    options: AnswerOptions & { json: true },
  ): ValueGeneration<Record<string, unknown>>;
  generate(prompt: string | ArrayLike<number>, options?: AnswerOptions): Generation;
  generate(prompt: string | ArrayLike<number>, options: AnswerOptions = {}): Generation {
    this.checkAlive();
    if (!this.config.hasHead)
      throw new BitNetError(
        "MODEL_UNSUPPORTED",
        `${this.info.source}: this model has no head to generate with; it embeds texts`,
      );
    const { form, rest } = takeForm(options);
    const ids =
      typeof prompt === "string" ? this.textIds(prompt, rest.signal) : checkPromptIds(prompt, this.info);
    const source = this.begin(ids, rest, form);
    return form === null
      ? new SingleGeneration(source, rest.signal)
      : new FormedGeneration(source, rest.signal);
  }

  /** Ids of a text to be continued, in time where it is long. */
  private textIds(text: string, signal: AbortSignal | undefined): Int32Array | Promise<Int32Array> {
    const bos = this.tokenizer.addBos;
    if (text.length < longPrompt) return this.tokenizer.encode(text, { bos });
    const encoded = this.encodeSoon({ kind: "text", text, bos, special: false }, signal);
    return encoded instanceof Promise ? encoded.then(({ ids }) => ids) : encoded.ids;
  }

  /** Short prompts at once. @throws BitNetError as `PromptEncoder.encode`. */
  private encodeSoon(job: EncodeJob, signal?: AbortSignal): EncodedPrompt | Promise<EncodedPrompt> {
    const { encoder } = this;
    return encoder === null || encodeJobSize(job) < longPrompt
      ? runEncodeJob(job, this.tokenizer, () => this.template)
      : encoder.encode(job, signal);
  }

  private async encode(job: EncodeJob, signal?: AbortSignal): Promise<EncodedPrompt> {
    this.checkAlive();
    return this.encoder?.encode(job, signal) ?? runEncodeJob(job, this.tokenizer, () => this.template);
  }

  /** Begins at once, or when the prompt has been encoded and the grammar of the form is there. */
  private begin(
    prompt: Int32Array | Promise<Int32Array>,
    options: GenerateOptions,
    form: GrammarSpec | null,
  ): GenerationSource {
    if (form === null && !(prompt instanceof Promise)) return this.beginNow(prompt, options);
    let ids: Int32Array = new Int32Array();
    let createMask: (() => TokenMask) | undefined;
    const ready = Promise.all([prompt, form === null ? null : this.compile(form)]).then(
      ([encoded, grammar]) => {
        ids = encoded;
        if (grammar !== null) createMask = () => grammar.createMask();
      },
    );
    const start = () => {
      this.checkAlive();
      const mask = createMask?.();
      try {
        return this.beginNow(ids, mask === undefined ? options : { ...options, mask });
      } catch (error) {
        mask?.dispose();
        throw error;
      }
    };
    return queuedSource(ready, start, { signal: options.signal, seed: options.seed });
  }

  private beginNow(ids: Int32Array, options: GenerateOptions): GenerationSource {
    const { tokenizer } = this;
    // Ids beyond the vocabulary (padding of an embedding) have no text.
    const textOf = (id: number) => (id < tokenizer.vocabSize ? tokenizer.decode([id]) : "");
    const given = this.usualAdapter === null ? options : { adapter: this.usualAdapter, ...options };
    return describedSource(this.scheduler.generate(ids, given), ids, textOf);
  }

  private async compile(form: GrammarSpec): Promise<Grammar> {
    this.compiler ??= this.createCompiler();
    return (await this.compiler).compile(form);
  }

  /**
   * The chat template: the file's own, or BitNet's where the file has none or a wrong one. Parsed when first asked for, so that a
   * model with a template that is beyond us still completes texts.
   * @throws BitNetError TEMPLATE_FAILED when it cannot be parsed.
   */
  get template(): ChatTemplate {
    this.compiledTemplate ??= chatTemplateFor(
      this.templateSource,
      this.info.source,
      this.usualTemplate,
      this.tokenizer,
    );
    return this.compiledTemplate;
  }

  /**
   * Starts a conversation.
   * @throws BitNetError TEMPLATE_FAILED when the model's chat template cannot be parsed, DISPOSED.
   */
  createChat(options: ChatOptions = {}): Chat {
    this.checkAlive();
    void this.template; // one that cannot be parsed is told here
    return new Chat(
      {
        contextLength: this.info.contextLength,
        fit: (job, signal) => this.encodeSoon(job, signal),
        begin: (ids, generateOptions, form) => this.begin(ids, generateOptions, form),
      },
      options,
    );
  }

  /**
   * Embeds texts: all of them in one batch with whatever else runs, each with the bits that it has alone. Models that were made to embed say
   * in their files how; of others the states are pooled as is usual for their family.
   * @example
   * const { embeddings } = await model.embed(["a cat", "a dog"], { dimensions: 256 });
   * console.log(cosineSimilarity(embeddings[0], embeddings[1]));
   * @throws BitNetError INVALID_ARGUMENT for options or texts, CONTEXT_EXCEEDED for a text that does not fit, FORMAT_… for a model whose files ask
   * for something unknown, BACKEND_UNAVAILABLE, ABORTED, DISPOSED.
   */
  async embed<Q extends Quantization = "none">(
    texts: string | readonly TextToEmbed[],
    options: EmbedOptions<Q> = {},
  ): Promise<EmbeddingResult<Q>> {
    return embedTexts(this.embeddingModel(), texts, options);
  }

  /**
   * Ranks texts by the cosine of their embeddings with that of a query, best first; of equal ones the first given comes first. The model's own
   * prompts for queries and documents are used where it has such; an `instruction` or a `prompt` is about the query.
   * @throws BitNetError as `embed`.
   */
  async rank(query: string, texts: readonly string[], options: EmbedOptions = {}): Promise<RankedText[]> {
    return rankTexts(this.embeddingModel(), query, texts, options);
  }

  /** Memory and cache in use. */
  stats(): ModelStats {
    this.checkAlive();
    const screening = screeningOf(this.executable);
    return { ...this.executable.memory(), ...this.scheduler.stats(), ...(screening && { screening }) };
  }

  /** Aborts what runs and frees all memory at once. Idempotent; any later use throws DISPOSED. */
  dispose(): Promise<void> {
    this.disposal ??= this.freeAll();
    return this.disposal;
  }

  private async freeAll(): Promise<void> {
    this.encoder?.dispose();
    await this.scheduler.dispose();
    await (await this.compiler?.catch(() => null))?.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** @param unscreened What decoding reads as long as it reads the whole head. */
  private bytesPerToken(unscreened: number): number {
    if (this.disposal) return unscreened;
    const { bytes, screened, candidates } = screeningOf(this.executable) ?? {
      bytes: 0,
      screened: 0,
      candidates: 0,
    };
    if (screened === 0 || bytes === 0) return unscreened;
    const { tableBytes, rowBytes } = this.headTable;
    return Math.round(unscreened - tableBytes + bytes + (candidates / screened) * rowBytes);
  }

  private embeddingModel(): EmbeddingModel {
    this.checkAlive();
    const { modules, tokenizer, config } = this;
    if (modules instanceof BitNetError) throw modules;
    return {
      tokenizer,
      modules,
      hiddenSize: config.hiddenSize,
      vocabSize: config.vocabSize,
      contextLength: this.scheduler.contextLength,
      stateScale: config.headScale,
      encode: async (text, bos, signal) => {
        if (text.length < longPrompt) return tokenizer.encode(text, { bos });
        return (await this.encode({ kind: "text", text, bos, special: false }, signal)).ids;
      },
      pool: (ids, options) => this.scheduler.embed(ids, options),
    };
  }

  private checkAlive(): void {
    if (this.disposal) throw new BitNetError("DISPOSED", `${this.info.source}: this model has been disposed`);
  }
}

type Encode = (job: EncodeJob, signal?: AbortSignal) => Promise<EncodedPrompt>;
const encoders = new WeakMap<BitNet, Encode>();

/**
 * Encodes a prompt for a model as `generate` and chats do: long ones off this thread where it can be, and many short ones so that others have
 * their turn.
 * @throws BitNetError as `generate`; the signal's reason.
 * @internal
 */
export function encodePrompt(model: BitNet, job: EncodeJob, signal?: AbortSignal): Promise<EncodedPrompt> {
  const encode = encoders.get(model);
  if (encode === undefined)
    throw new BitNetError("INTERNAL", "encodePrompt: expected a model of this thread");
  return encode(job, signal);
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
