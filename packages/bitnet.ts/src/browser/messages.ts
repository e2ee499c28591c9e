/**
 * What a page and the worker that runs its model say to each other: plain data that structured cloning carries. The page numbers
 * generations and chats; the worker answers under the same numbers, in order.
 */
import type { ChatMessage, PromptProgress } from "@bitnet.ts/core";
import { BitNetError, type BitNetErrorCode } from "@bitnet.ts/core/base";
import type { AnswerOptions } from "../answer-form.ts";
import type { ChatOptions, SendOptions } from "../chat.ts";
import type { EmbedOptions, TextToEmbed } from "../embed.ts";
import type { GenerationResult, TokenPiece } from "../generation.ts";
import type { LanguageSource } from "../language-source.ts";
import type { ToolResult } from "../tool-calls.ts";
import type { BackendReport, BitNetLoadOptions, DownloadProgress, ModelInfo, ModelStats } from "../types.ts";

/** Load options without what cannot be cloned; of the callbacks only whether they are wanted. */
type ClonedLoadOptions = Omit<
  BitNetLoadOptions,
  "onProgress" | "onNotice" | "onDownload" | "signal" | "worker"
>;
type ClonedAnswerOptions = Omit<AnswerOptions, "signal" | "mask" | "onPrompt">;
export type ClonedSendOptions = Omit<SendOptions, "signal" | "mask" | "onPrompt">;
/** What is asked once and answered once. */
export type Question =
  | { kind: "embed"; texts: string | readonly TextToEmbed[]; options: Omit<EmbedOptions, "signal"> }
  | { kind: "rank"; query: string; texts: readonly string[]; options: Omit<EmbedOptions, "signal"> };

export type ToEngine =
  | { kind: "load"; source: string | Blob; options: ClonedLoadOptions }
  | { kind: "generate"; id: number; prompt: string | ArrayLike<number>; options: ClonedAnswerOptions }
  | { kind: "createChat"; chat: number; options: ChatOptions }
  | { kind: "send"; id: number; chat: number; text: string; options: ClonedSendOptions }
  | {
      kind: "sendToolResults";
      id: number;
      chat: number;
      results: readonly ToolResult[];
      options: ClonedSendOptions;
    }
  | { kind: "ask"; id: number; question: Question }
  | { kind: "setSystem"; chat: number; text: string | null }
  | { kind: "clear"; chat: number }
  | { kind: "forgetChat"; chat: number }
  /** Room for so many more pieces; the first one begins the reading. */
  | { kind: "room"; id: number; pieces: number }
  /** The reader has left. */
  | { kind: "leave"; id: number }
  /** The signal has fired. */
  | { kind: "abort"; id: number }
  | { kind: "dispose" }
  /** Instead of loading anything. */
  | { kind: "report"; wasmUrl: string | undefined };

/** What the page shows without asking, as it stands after a generation. */
export interface EngineState {
  stats: ModelStats;
  bytesPerToken: number;
}

/** How a conversation stands in the worker. */
export interface ChatState {
  messages: readonly ChatMessage[];
  dropped: number;
}

export type ToPage =
  | { kind: "progress"; fraction: number }
  | { kind: "notice"; line: string }
  | { kind: "download"; progress: DownloadProgress }
  | { kind: "loaded"; info: ModelInfo; state: EngineState | null; language: WireLanguage | null }
  | { kind: "loadFailed"; error: WireError }
  | { kind: "chat"; chat: number; state: ChatState }
  | { kind: "prompt"; id: number; progress: PromptProgress }
  | { kind: "piece"; id: number; piece: TokenPiece }
  | { kind: "end"; id: number; error: WireError | null }
  | { kind: "result"; id: number; result: GenerationResult; state: EngineState | null }
  | { kind: "failed"; id: number; error: WireError; state: EngineState | null }
  | { kind: "answer"; id: number; answer: unknown; error: WireError | null }
  | { kind: "disposed"; error: WireError | null }
  | { kind: "report"; reports: readonly BackendReport[] };

/** An error as it crosses; `code` is null for what is no BitNetError. */
export interface WireError {
  code: BitNetErrorCode | null;
  message: string;
  details: Readonly<Record<string, unknown>>;
}

export function toWire(error: unknown): WireError {
  if (error instanceof BitNetError) {
    const { code, message, details } = error;
    return { code, message, details: cloneable(details) };
  }
  return { code: null, message: error instanceof Error ? error.message : String(error), details: {} };
}

export function fromWire({ code, message, details }: WireError): BitNetError {
  return new BitNetError(code ?? "INTERNAL", message, { details });
}

/** Details are plain data by contract; what is not would make the message itself fail. */
function cloneable(details: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  try {
    return structuredClone(details);
  } catch {
    return {};
  }
}

/** What tokenizer and template are made of, as it crosses. */
export interface WireLanguage extends Omit<LanguageSource, "template"> {
  template: string | null | WireError;
}

export function languageToWire({ tokenizer, template, usualTemplate }: LanguageSource): WireLanguage {
  return {
    tokenizer,
    template: template instanceof BitNetError ? toWire(template) : template,
    usualTemplate,
  };
}

export function languageFromWire({ tokenizer, template, usualTemplate }: WireLanguage): LanguageSource {
  const isError = typeof template === "object" && template !== null;
  return { tokenizer, template: isError ? fromWire(template) : template, usualTemplate };
}

/** A worker as the page sees it, the page as the worker sees it, or one end of a channel. */
export interface MessageLink<Out> {
  postMessage(message: Out): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
}
