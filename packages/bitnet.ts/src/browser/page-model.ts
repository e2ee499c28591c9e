/**
 * The page's side of a model that runs in a worker: the public class of bitnet.ts without ever waiting for the engine. Touches no
 * global of browsers when it is imported, so that servers may render pages that import it.
 */
import type { ChatTemplate, Tokenizer } from "@bitnet.ts/core";
import { BitNetError, onAbort, throwIfAborted } from "@bitnet.ts/core/base";
import { chatTemplateFor, makeTokenizer } from "@bitnet.ts/core/page";
import { type AnswerOptions, FormedGeneration, type ValueGeneration } from "../answer-form.ts";
import type { BitNet } from "../bitnet.ts";
import type { Chat, ChatOptions, SendOptions } from "../chat.ts";
import { checkSource } from "../check-source.ts";
import type { EmbeddingResult, EmbedOptions, Quantization, RankedText, TextToEmbed } from "../embed.ts";
import type { LanguageSource } from "../language-source.ts";
import type { ToolResult } from "../tool-calls.ts";
import type { BitNetLoadOptions, ModelInfo, ModelStats } from "../types.ts";
import {
  type ClonedSendOptions,
  type EngineState,
  fromWire,
  languageFromWire,
  type MessageLink,
  type Question,
  type ToEngine,
  type ToPage,
} from "./messages.ts";
import { PageChat } from "./page-chat.ts";
import { Incoming, pageSource } from "./page-generation.ts";

/** What both a model here and a model in a worker offer. */
export type Model = Pick<BitNet, keyof BitNet>;

/** A worker, as far as it is used. */
export interface EngineLink extends MessageLink<ToEngine> {
  addEventListener(
    type: "message" | "error" | "messageerror",
    listener: (event: { data: unknown; message?: unknown }) => void,
  ): void;
  terminate(): void;
}

interface Asked {
  resolve(answer: unknown): void;
  reject(error: BitNetError): void;
}

export class PageModel implements Model {
  readonly info: ModelInfo;
  private readonly link: EngineLink;
  private readonly language: LanguageSource | null;
  private ownTokenizer: Tokenizer | null = null;
  private ownTemplate: ChatTemplate | null = null;
  private state: EngineState | null = null;
  private readonly incoming = new Map<number, Incoming>();
  private readonly asked = new Map<number, Asked>();
  private readonly chats = new Map<number, WeakRef<PageChat>>();
  private readonly forgotten: FinalizationRegistry<ToEngine>;
  private lastId = 0;
  private disposal: Promise<void> | null = null;
  private endDisposal: (error: BitNetError | null) => void = () => {};
  private crash: BitNetError | null = null;

  protected constructor(link: EngineLink, info: ModelInfo, language: LanguageSource | null) {
    this.link = link;
    this.language = language;
    const bytesPerToken = {
      enumerable: true,
      get: () => this.state?.bytesPerToken ?? info.bytesPerToken,
    };
    this.info = Object.freeze(Object.defineProperties({ ...info }, { bytesPerToken }));
    this.forgotten = new FinalizationRegistry((message) => this.post(message));
  }

  /** Loads a model in the worker behind `link`, which then belongs to the model. */
  static connect(
    link: EngineLink,
    source: string | URL | Blob,
    options: BitNetLoadOptions = {},
  ): Promise<PageModel> {
    checkSource(source);
    const { onProgress, onNotice, onDownload, signal, worker: _used, ...cloned } = options;
    return new Promise<PageModel>((resolve, reject) => {
      let model: PageModel | null = null;
      let isStopped = false;
      const stopWaiting = signal ? onAbort(signal, () => fail(aborted(signal))) : () => {};
      const refuse = (error: unknown) => {
        isStopped = true;
        stopWaiting();
        link.terminate();
        reject(error);
      };
      const fail = (error: BitNetError) => {
        if (model === null) refuse(error);
        else model.failAll(error);
      };
      const hear = (message: ToPage) => {
        if (isStopped) return; // what was under way when the worker was ended
        if (message.kind === "progress") onProgress?.(message.fraction);
        else if (message.kind === "notice") (onNotice ?? console.warn)(message.line);
        else if (message.kind === "download") onDownload?.(message.progress);
        else if (message.kind === "loadFailed") fail(fromWire(message.error));
        else if (message.kind === "loaded") {
          stopWaiting();
          model = new this(link, message.info, message.language ? languageFromWire(message.language) : null);
          model.state = message.state;
          resolve(model);
        } else model?.receive(message);
      };
      link.addEventListener("message", ({ data }) => {
        try {
          hear(data as ToPage);
        } catch (error) {
          if (model !== null) throw error;
          refuse(error); // as without a worker, what a caller's function throws fails the loading
        }
      });
      link.addEventListener("error", ({ message }) => fail(crashed(message)));
      link.addEventListener("messageerror", () => fail(crashed("a message could not be read")));
      try {
        const place = source instanceof Blob ? source : String(source);
        link.postMessage({ kind: "load", source: place, options: cloned });
      } catch (cause) {
        fail(notCloneable("load", cause));
      }
    });
  }

  /** `value` is for those who gave a form; the overloads of `BitNet` say so to callers. */
  generate(prompt: string | ArrayLike<number>, options: AnswerOptions = {}): ValueGeneration<never> {
    this.checkAlive();
    return this.begin("generate", options, (id, cloned) => ({
      kind: "generate",
      id,
      prompt,
      options: cloned,
    }));
  }

  /** What is wrong with the options fails the chat's answers, since the worker finds it out. */
  createChat(options: ChatOptions = {}): Chat {
    this.checkAlive();
    const number = ++this.lastId;
    this.tell("createChat", { kind: "createChat", chat: number, options });
    const link = {
      send: (text: string, sendOptions: SendOptions) => {
        this.checkAlive();
        return this.begin("send", sendOptions, (id, cloned) => ({
          kind: "send",
          id,
          chat: number,
          text,
          options: cloned,
        }));
      },
      sendToolResults: (results: readonly ToolResult[], sendOptions: SendOptions) => {
        this.checkAlive();
        return this.begin("sendToolResults", sendOptions, (id, cloned) => ({
          kind: "sendToolResults",
          id,
          chat: number,
          results,
          options: cloned,
        }));
      },
      setSystem: (text: string | null) => this.tell("setSystem", { kind: "setSystem", chat: number, text }),
      clear: () => this.post({ kind: "clear", chat: number }),
    };
    const chat = new PageChat(link, options);
    this.chats.set(number, new WeakRef(chat));
    this.forgotten.register(chat, { kind: "forgetChat", chat: number });
    return chat as unknown as Chat; // the public members are the same; `implements` in PageChat says so
  }

  async embed<Q extends Quantization = "none">(
    texts: string | readonly TextToEmbed[],
    { signal, ...options }: EmbedOptions<Q> = {},
  ): Promise<EmbeddingResult<Q>> {
    return (await this.ask({ kind: "embed", texts, options }, signal)) as EmbeddingResult<Q>;
  }

  async rank(
    query: string,
    texts: readonly string[],
    { signal, ...options }: EmbedOptions = {},
  ): Promise<RankedText[]> {
    return (await this.ask({ kind: "rank", query, texts, options }, signal)) as RankedText[];
  }

  /** As it stood after the last generation. */
  stats(): ModelStats {
    this.checkAlive();
    if (this.state === null) throw new BitNetError("INTERNAL", "the worker has told no statistics");
    return this.state.stats;
  }

  /** Made when it is first asked for, which takes this thread some time where a vocabulary is large. */
  get tokenizer(): Tokenizer {
    this.ownTokenizer ??= makeTokenizer(this.languageOf("tokenizer").tokenizer, this.info);
    return this.ownTokenizer;
  }

  /** As in Node. */
  get template(): ChatTemplate {
    const { template, usualTemplate } = this.languageOf("template");
    this.ownTemplate ??= chatTemplateFor(template, this.info.source, usualTemplate, this.tokenizer);
    return this.ownTemplate;
  }

  /** Frees the model and ends the worker. */
  dispose(): Promise<void> {
    this.disposal ??= this.end();
    return this.disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  private async end(): Promise<void> {
    const disposed = new Promise<BitNetError | null>((resolve) => {
      this.endDisposal = resolve;
    });
    if (this.crash === null) this.post({ kind: "dispose" });
    else this.endDisposal(null);
    const error = await disposed;
    this.link.terminate();
    this.failAll(new BitNetError("DISPOSED", `${this.info.source}: this model has been disposed`));
    if (error !== null) throw error;
  }

  private ask(question: Question, signal: AbortSignal | undefined): Promise<unknown> {
    this.checkAlive();
    throwIfAborted(signal);
    const id = ++this.lastId;
    const stopWaiting = signal ? onAbort(signal, () => this.post({ kind: "abort", id })) : () => {};
    const answer = new Promise<unknown>((resolve, reject) => this.asked.set(id, { resolve, reject }));
    try {
      this.tell(question.kind, { kind: "ask", id, question });
    } catch (error) {
      this.asked.delete(id);
      stopWaiting();
      throw error;
    }
    return answer.finally(stopWaiting);
  }

  private begin(
    where: string,
    { signal, mask, onPrompt, ...options }: SendOptions,
    message: (id: number, options: ClonedSendOptions) => ToEngine,
  ): ValueGeneration<never> {
    if (mask !== undefined) {
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `${where}: a mask cannot cross into the worker; load the model with { worker: false } in a worker of your own`,
      );
    }
    const id = ++this.lastId;
    const incoming = new Incoming(id, (sent) => this.post(sent));
    incoming.onOver = () => this.incoming.delete(id);
    if (onPrompt !== undefined) incoming.onPrompt = onPrompt;
    this.tell(where, message(id, options));
    this.incoming.set(id, incoming);
    if (signal) {
      const stopWaiting = onAbort(signal, () => this.post({ kind: "abort", id }));
      incoming.result.then(stopWaiting, stopWaiting);
    }
    const source = pageSource(incoming);
    this.forgotten.register(source, { kind: "leave", id });
    // The value has the type of the form, which only callers know.
    return new FormedGeneration(source, signal) as unknown as ValueGeneration<never>;
  }

  private receive(message: ToPage): void {
    if (message.kind === "disposed") this.endDisposal(message.error && fromWire(message.error));
    if (message.kind === "chat") this.chats.get(message.chat)?.deref()?.update(message.state);
    if (message.kind === "result" || message.kind === "failed") this.state = message.state ?? this.state;
    if (message.kind === "answer") {
      const { error, answer } = message;
      if (error === null) this.asked.get(message.id)?.resolve(answer);
      else this.asked.get(message.id)?.reject(fromWire(error));
      this.asked.delete(message.id);
    } else if ("id" in message) this.incoming.get(message.id)?.receive(message);
  }

  /** The worker is gone. */
  private failAll(error: BitNetError): void {
    this.crash ??= error;
    for (const each of this.incoming.values()) each.fail(error);
    this.incoming.clear();
    for (const { reject } of this.asked.values()) reject(error);
    this.asked.clear();
    this.endDisposal(null);
  }

  private post(message: ToEngine): void {
    if (this.crash === null) this.link.postMessage(message);
  }

  private tell(where: string, message: ToEngine): void {
    try {
      this.post(message);
    } catch (cause) {
      throw notCloneable(where, cause);
    }
  }

  private languageOf(what: string): LanguageSource {
    if (this.language !== null) return this.language;
    throw new BitNetError(
      "BACKEND_UNAVAILABLE",
      `${what}: the worker has not told what it is made of; take the worker of the same version of bitnet.ts`,
    );
  }

  private checkAlive(): void {
    if (this.disposal) throw new BitNetError("DISPOSED", `${this.info.source}: this model has been disposed`);
    if (this.crash) throw this.crash;
  }
}

function aborted(signal: AbortSignal): BitNetError {
  return new BitNetError("ABORTED", "the operation was aborted", { cause: signal.reason });
}

export function crashed(message: unknown): BitNetError {
  const reason = typeof message === "string" && message !== "" ? message : "its script could not be loaded";
  return new BitNetError(
    "BACKEND_FAILED",
    `the worker that runs the model has failed (${reason}); where a bundler leaves workers out, give { worker }`,
  );
}

function notCloneable(where: string, cause: unknown): BitNetError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new BitNetError(
    "INVALID_ARGUMENT",
    `${where}: the options cannot cross into the worker (${reason})`,
    {
      cause,
    },
  );
}
