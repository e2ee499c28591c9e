/** The worker's side: loads one model and answers the page's messages. Knows the public class of bitnet.ts and nothing below it. */
import { BitNetError, type PromptProgress } from "@bitnet.ts/core";
import type { BitNet } from "../bitnet.ts";
import type { Chat } from "../chat.ts";
import type { Generation } from "../generation.ts";
import { type LanguageSource, type ListeningOptions, onLanguage } from "../language-source.ts";
import type { BackendReport, BitNetLoadOptions, ReportOptions } from "../types.ts";
import {
  type EngineState,
  languageToWire,
  type MessageLink,
  type Question,
  type ToEngine,
  type ToPage,
  toWire,
} from "./messages.ts";

/** A generation that the page reads or waits for. */
interface Running {
  abort: AbortController;
  generation: Generation;
  reader: Reader | null;
}

/** What every generation has, beside what the page asks for. */
interface SharedOptions {
  signal: AbortSignal;
  onPrompt: (progress: PromptProgress) => void;
}

type Report = (options: ReportOptions) => Promise<BackendReport[]>;
type Load = (source: string | Blob, options: BitNetLoadOptions) => Promise<BitNet>;

/** Answers on `link` from now on. */
export function serveEngine(link: MessageLink<ToPage>, load: Load, report: Report): void {
  const engine = new Engine(link, load, report);
  link.addEventListener("message", ({ data }) => engine.receive(data as ToEngine));
}

class Engine {
  private readonly link: MessageLink<ToPage>;
  private readonly loadModel: Load;
  private readonly reportBackends: Report;
  private model: BitNet | null = null;
  private isDisposed = false;
  private readonly running = new Map<number, Running>();
  private readonly asked = new Map<number, AbortController>();
  /** An error stands for a chat that could not be started. */
  private readonly chats = new Map<number, Chat | Error>();

  constructor(link: MessageLink<ToPage>, load: Load, report: Report) {
    this.link = link;
    this.loadModel = load;
    this.reportBackends = report;
  }

  receive(message: ToEngine): void {
    switch (message.kind) {
      case "load":
        void this.load(message.source, message.options);
        return;
      case "generate": {
        const { prompt, options } = message;
        this.start(message.id, null, (shared) => this.loaded().generate(prompt, { ...options, ...shared }));
        return;
      }
      case "send": {
        const { text, options } = message;
        this.start(message.id, message.chat, (shared) =>
          this.startedChat(message.chat).send(text, { ...options, ...shared }),
        );
        return;
      }
      case "sendToolResults": {
        const { results, options } = message;
        this.start(message.id, message.chat, (shared) =>
          this.startedChat(message.chat).sendToolResults(results, { ...options, ...shared }),
        );
        return;
      }
      case "ask":
        void this.answer(message.id, message.question);
        return;
      case "createChat":
        this.chats.set(message.chat, this.createChat(message.options));
        return;
      case "setSystem":
        this.chat(message.chat)?.setSystem(message.text);
        return;
      case "clear":
        this.chat(message.chat)?.clear();
        this.tellChat(message.chat);
        return;
      case "forgetChat":
        this.chats.delete(message.chat);
        return;
      case "room":
        this.read(message.id, message.pieces);
        return;
      case "leave":
        this.leave(message.id);
        return;
      case "abort":
        (this.running.get(message.id)?.abort ?? this.asked.get(message.id))?.abort();
        return;
      case "dispose":
        void this.dispose();
        return;
      case "report":
        void this.report(message.wasmUrl);
    }
  }

  private async load(source: string | Blob, options: BitNetLoadOptions): Promise<void> {
    const told: LanguageSource[] = [];
    try {
      const listening: ListeningOptions = {
        ...options,
        [onLanguage]: (language) => told.push(language),
        onProgress: (fraction) => this.link.postMessage({ kind: "progress", fraction }),
        onNotice: (line) => this.link.postMessage({ kind: "notice", line }),
        onDownload: (progress) => this.link.postMessage({ kind: "download", progress }),
      };
      this.model = await this.loadModel(source, listening);
      const info = { ...this.model.info };
      const [language] = told;
      const wire = language === undefined ? null : languageToWire(language);
      this.link.postMessage({ kind: "loaded", info, state: this.state(), language: wire });
    } catch (error) {
      this.link.postMessage({ kind: "loadFailed", error: toWire(error) });
    }
  }

  private async report(wasmUrl: string | undefined): Promise<void> {
    const reports = await this.reportBackends(wasmUrl === undefined ? {} : { wasmUrl });
    this.link.postMessage({ kind: "report", reports });
  }

  private loaded(): BitNet {
    if (this.model === null) throw new BitNetError("INTERNAL", "the worker has no model yet");
    return this.model;
  }

  /** @throws BitNetError why it could not be started. */
  private startedChat(number: number): Chat {
    const chat = this.chats.get(number);
    if (chat instanceof Error) throw chat;
    if (chat === undefined) throw new BitNetError("INTERNAL", "chat: it has not been started");
    return chat;
  }

  private async answer(id: number, question: Question): Promise<void> {
    const abort = new AbortController();
    this.asked.set(id, abort);
    try {
      const model = this.loaded();
      const options = { ...question.options, signal: abort.signal };
      const answer =
        question.kind === "embed"
          ? await model.embed(question.texts, options)
          : await model.rank(question.query, question.texts, options);
      this.link.postMessage({ kind: "answer", id, answer, error: null });
    } catch (error) {
      this.link.postMessage({ kind: "answer", id, answer: null, error: toWire(error) });
    } finally {
      this.asked.delete(id);
    }
  }

  private chat(number: number): Chat | null {
    const chat = this.chats.get(number);
    return chat === undefined || chat instanceof Error ? null : chat;
  }

  private createChat(options: Parameters<BitNet["createChat"]>[0]): Chat | Error {
    try {
      return this.loaded().createChat(options);
    } catch (error) {
      return error as Error;
    }
  }

  private start(id: number, chat: number | null, begin: (shared: SharedOptions) => Generation): void {
    const abort = new AbortController();
    const onPrompt = (progress: PromptProgress) => this.link.postMessage({ kind: "prompt", id, progress });
    let generation: Generation;
    try {
      generation = begin({ signal: abort.signal, onPrompt });
    } catch (error) {
      this.fail(id, chat, error);
      return;
    }
    // Kept when it is over as well: somebody may still read it. The page says when nobody will.
    this.running.set(id, { abort, generation, reader: null });
    generation.result.then(
      (result) => {
        this.tellChat(chat);
        this.link.postMessage({ kind: "result", id, result, state: this.state() });
      },
      (error: unknown) => this.fail(id, chat, error),
    );
  }

  private fail(id: number, chat: number | null, error: unknown): void {
    this.tellChat(chat);
    this.link.postMessage({ kind: "failed", id, error: toWire(error), state: this.state() });
  }

  private tellChat(number: number | null): void {
    const chat = number === null ? null : this.chat(number);
    if (number === null || chat === null) return;
    const state = { messages: chat.messages, dropped: chat.droppedMessages };
    this.link.postMessage({ kind: "chat", chat: number, state });
  }

  private read(id: number, pieces: number): void {
    const running = this.running.get(id);
    if (running === undefined) return; // it has been read or left
    if (running.reader === null) {
      running.reader = new Reader(running.generation, this.link, id);
      void running.reader.run().then(() => this.running.delete(id));
    }
    running.reader.addRoom(pieces);
  }

  private leave(id: number): void {
    const running = this.running.get(id);
    if (running?.reader) running.reader.leave();
    else this.running.delete(id);
  }

  /** Null when the model is gone. */
  private state(): EngineState | null {
    const { model } = this;
    if (model === null || this.isDisposed) return null;
    return { stats: model.stats(), bytesPerToken: model.info.bytesPerToken };
  }

  private async dispose(): Promise<void> {
    this.isDisposed = true;
    try {
      await this.model?.dispose();
      this.link.postMessage({ kind: "disposed", error: null });
    } catch (error) {
      this.link.postMessage({ kind: "disposed", error: toWire(error) });
    }
  }
}

/** Reads a generation as far as the page has room for pieces. */
class Reader {
  private readonly generation: Generation;
  private readonly link: MessageLink<ToPage>;
  private readonly id: number;
  private room = 0;
  private hasLeft = false;
  private wake = () => {};

  constructor(generation: Generation, link: MessageLink<ToPage>, id: number) {
    this.generation = generation;
    this.link = link;
    this.id = id;
  }

  addRoom(pieces: number): void {
    this.room += pieces;
    this.wake();
  }

  leave(): void {
    this.hasLeft = true;
    this.wake();
  }

  async run(): Promise<void> {
    const { id } = this;
    try {
      const pieces = this.generation[Symbol.asyncIterator]();
      for (;;) {
        while (this.room === 0 && !this.hasLeft)
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
        if (this.hasLeft) {
          await pieces.return?.();
          break;
        }
        const next = pieces.next();
        const { done, value } = await Promise.race([next, this.left()]);
        if (done === true) {
          if (this.hasLeft) await pieces.return?.();
          break;
        }
        this.room--;
        this.link.postMessage({ kind: "piece", id, piece: value });
      }
      this.link.postMessage({ kind: "end", id, error: null });
    } catch (error) {
      this.link.postMessage({ kind: "end", id, error: toWire(error) });
    }
  }

  /** Resolves when the reader leaves while a piece is being made. */
  private left(): Promise<{ done: true; value: undefined }> {
    return new Promise((resolve) => {
      this.wake = () => {
        if (this.hasLeft) resolve({ done: true, value: undefined });
      };
    });
  }
}
