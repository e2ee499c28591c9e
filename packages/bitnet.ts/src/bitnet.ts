/**
 * A loaded model: the public class of bitnet.ts, with all that a model offers. How one is opened stands in open-model.ts; everything that
 * differs between platforms comes from #platform.
 */
import {
  type Backend,
  BitNetError,
  type ChatTemplate,
  chatTemplateFor,
  type EmbeddingModules,
  type EncodedPrompt,
  type EncodeJob,
  type Executable,
  encodeJobSize,
  type GenerateOptions,
  longPrompt,
  type ModelConfig,
  runEncodeJob,
  type Scheduler,
  screeningOf,
  type TemplateSource,
  type Tokenizer,
  type TokenMask,
  throwIfAborted,
} from "@bitnet.ts/core";
import type { Grammar, GrammarCompiler, GrammarSpec } from "@bitnet.ts/grammar";
import { createPromptEncoder } from "#platform";
import {
  type AnswerOptions,
  FormedGeneration,
  type SchemaOptions,
  takeForm,
  type ValueGeneration,
} from "./answer-form.ts";
import { Chat, type ChatOptions } from "./chat.ts";
import { checkSource, namingSource } from "./check-source.ts";
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
import { checkOptions } from "./load-options.ts";
import type { HeadTable } from "./memory-bytes.ts";
import { type OpenedModel, openModel } from "./open-model.ts";
import { checkPromptIds } from "./prompt-ids.ts";
import { queuedSource } from "./queued-source.ts";
import type { FromSchema, JsonSchema } from "./schema-type.ts";
import type { BitNetLoadOptions, ModelInfo, ModelStats } from "./types.ts";

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
  private readonly backend: Backend;
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

  private constructor(parts: OpenedModel) {
    const bytesPerToken = { enumerable: true, get: () => this.bytesPerToken(parts.info.bytesPerToken) };
    this.info = Object.freeze(Object.defineProperties({ ...parts.info }, { bytesPerToken }));
    this.headTable = parts.headTable;
    this.tokenizer = parts.tokenizer;
    this.templateSource = parts.chatTemplate;
    this.usualTemplate = parts.usualTemplate;
    this.usualAdapter = parts.usualAdapter;
    this.executable = parts.executable;
    this.backend = parts.backend;
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
      return new BitNet(await openModel(source, name, options));
    } catch (error) {
      throw namingSource(error, name);
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
    try {
      await this.scheduler.dispose();
    } finally {
      await this.backend.dispose?.();
      await (await this.compiler?.catch(() => null))?.dispose();
    }
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
