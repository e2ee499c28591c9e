/**
 * A conversation in, answers out: what all chat dialects share. They say what is asked for and get events; how a request or an answer is
 * spelled is theirs.
 */
import {
  type AnswerEvent,
  AnswerReader,
  type ChatMessage,
  callBegin,
  callEnd,
  describeToolsInText,
  hasToolTemplate,
  type Tool,
  type ToolChoice,
} from "@bitnet.ts/core";
import type { GrammarSpec } from "@bitnet.ts/grammar";
import type { BitNet, GenerateOptions, GenerationResult, PromptProgress, TokenPiece } from "bitnet.ts";
import type { AnswerPlan } from "./answer-plan.ts";
import { ServeError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { compileForm, generateAnswers, reserveFor } from "./generating.ts";
import type { Lease } from "./models.ts";
import { checkPromptSize, checkRoom, encodeMessages } from "./prompts.ts";
import { screenChat } from "./security/screen-prompts.ts";
import type { ServerSettings } from "./settings.ts";

export interface ChatRequest {
  model?: string | undefined;
  messages: readonly ChatMessage[];
  tools: readonly Tool[];
  toolChoice: ToolChoice;
  /** Names of tools whose calls must keep to all of their schema; others keep to what can be kept to. */
  strictTools: ReadonlySet<string>;
  parallelCalls: boolean;
  /** Answers to the same prompt. */
  n: number;
  /** Tokens of an answer, where the client says so. */
  maxTokens?: number | undefined;
  options: GenerateOptions;
  /** The form that answers must have; beside forced calls it does not count. */
  format?: GrammarSpec | undefined;
  templateArguments?: Record<string, unknown> | undefined;
}

/** A token of the answer and its log-probability, where they are asked for. */
export interface TokenEntry {
  readonly id: number;
  readonly logprob: number;
  readonly top: readonly (readonly [id: number, logprob: number])[];
}

/** The piece's token, where log-probabilities are asked for. */
export function entriesOf({ id, logprob, top = [] }: TokenPiece): TokenEntry[] {
  if (logprob === undefined) return [];
  return [{ id, logprob, top: top.map((best) => [best.id, best.logprob] as const) }];
}

/** Tokens come with the event that their text ends in. */
export type ChatEvent = AnswerEvent & { readonly tokens: readonly TokenEntry[] };

interface ChatCall {
  readonly name: string;
  readonly arguments: string;
}

export interface ChatAnswer {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly ChatCall[];
  /** Why it ended; "calls": with calls of tools. */
  readonly end: "stop" | "stop-text" | "length" | "calls";
  readonly stopText: string | null;
  readonly tokens: readonly TokenEntry[];
  /** Tokens that were thoughts. */
  readonly nReasoning: number;
  readonly result: GenerationResult;
}

export interface PreparedChat {
  readonly lease: Lease;
  readonly request: ChatRequest;
  readonly ids: Int32Array;
  readonly plans: readonly AnswerPlan[];
  readonly thinking: "no" | "maybe" | "begun";
}

export function maxTokensFor(wanted: number | undefined, settings: ServerSettings): number {
  return Math.min(wanted ?? settings.defaultOutputTokens, settings.maxOutputTokens);
}

/** Waits for the request's turn and encodes its prompt. Errors up to here are answers, not streams. */
export async function prepareChat(exchange: Exchange, request: ChatRequest): Promise<PreparedChat> {
  const { settings } = exchange.serving;
  checkPromptSize(promptCharacters(request), settings);
  if (request.n > settings.maxAnswers)
    throw new ServeError("INVALID_INPUT", `n: at most ${settings.maxAnswers} answers`, { param: "n" });
  const lease = await exchange.start(request.model);
  const screened = screenChat(exchange, request);
  const { ids, text } = await encodeChatRequest(exchange, lease, screened);
  checkRoom(lease.model, ids);
  const options = {
    ...request.options,
    maxTokens: Math.min(
      maxTokensFor(request.maxTokens, settings),
      lease.model.info.contextLength - ids.length,
    ),
  };
  const plans = await planAnswers(exchange, lease, request, { ids, options });
  await reserveFor(exchange, lease, plans);
  return { lease, request, ids, plans, thinking: thinkingOf(lease.model, text, grammarFor(request)) };
}

export function encodeChatRequest(
  exchange: Exchange,
  lease: Lease,
  request: ChatRequest,
): Promise<{ ids: Int32Array; text: string }> {
  const wanted = request.toolChoice === "none" ? [] : request.tools;
  const { templateArguments } = request;
  const { messages, prefix } = splitPrefix(request.messages);
  if (!hasToolTemplate(lease.model.template))
    return encodeMessages(exchange, lease, describeToolsInText(messages, wanted), {
      templateArguments,
      prefix,
    });
  const tools = wanted.length > 0 ? wanted : undefined;
  return encodeMessages(exchange, lease, messages, { tools, templateArguments, prefix });
}

/** A last message of the assistant is the beginning of the answer. */
function splitPrefix(messages: readonly ChatMessage[]): { messages: readonly ChatMessage[]; prefix: string } {
  const last = messages.at(-1);
  if (last?.role !== "assistant" || last.tool_calls !== undefined) return { messages, prefix: "" };
  const before = messages.slice(0, -1);
  if (before.at(-1)?.role === "assistant")
    throw new ServeError("INVALID_INPUT", "messages: only the last one may be an answer to go on with", {
      param: "messages",
    });
  return { messages: before, prefix: typeof last.content === "string" ? last.content : "" };
}

function promptCharacters({ messages, tools }: ChatRequest): number {
  let sum = tools.length === 0 ? 0 : JSON.stringify(tools).length;
  for (const { content } of messages)
    if (typeof content === "string") sum += content.length;
    else for (const part of content ?? []) sum += part.text.length;
  return sum;
}

async function planAnswers(
  exchange: Exchange,
  lease: Lease,
  request: ChatRequest,
  { ids, options }: { ids: Int32Array; options: GenerateOptions },
): Promise<AnswerPlan[]> {
  const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const spec = grammarFor(request);
  const grammar = spec === null ? null : await compileForm(exchange, lease, spec);
  // What ends an answer is the grammar's to say.
  const { ignoreEos: _, ...rest } = options;
  const base = grammar === null ? options : rest;
  return Array.from({ length: request.n }, (__, choice) => ({
    ids,
    options: { ...base, seed, choice },
    hasSeed: options.seed !== undefined,
    ...(grammar === null || spec === null ? {} : { form: spec, grammar }),
  }));
}

/** Forced calls first, then the form of the answer, then calls that the model may make. */
function grammarFor({
  tools,
  toolChoice,
  strictTools,
  parallelCalls,
  format,
}: ChatRequest): GrammarSpec | null {
  if (tools.length === 0 || toolChoice === "none") return format ?? null;
  const mustCall = toolChoice !== "auto";
  if (!mustCall && format !== undefined) return format;
  const named =
    typeof toolChoice === "string" ? tools : tools.filter((tool) => tool.function.name === toolChoice.name);
  return {
    kind: "calls",
    begin: callBegin,
    end: callEnd,
    tools: named.map(({ function: { name, parameters } }) => ({
      name,
      parameters,
      isLoose: !strictTools.has(name),
    })),
    mustCall,
    several: parallelCalls && typeof toolChoice === "string",
  };
}

/** An answer that has a form from its first token on is all answer, also where the prompt has begun a thought. */
export function thinkingOf(
  model: BitNet,
  prompt: string,
  spec: GrammarSpec | null,
): PreparedChat["thinking"] {
  if (spec !== null && (spec.kind !== "calls" || spec.mustCall)) return "no";
  if (/<think>\s*$/.test(prompt)) return "begun";
  return mayThink(model) ? "maybe" : "no";
}

export function mayThink({ template, tokenizer }: BitNet): boolean {
  return template.source.includes("<think>") || tokenizer.idOf("<think>") !== null;
}

/** Runs the answers. `onEvent` is waited for before the answer goes on; `onPrompt` is told how far a prompt has been read. */
export async function runChat(
  exchange: Exchange,
  chat: PreparedChat,
  onEvent: (index: number, event: ChatEvent) => Promise<void> | void = () => {},
  onPrompt?: (index: number, progress: PromptProgress) => void,
): Promise<ChatAnswer[]> {
  const builders = chat.plans.map(() => new AnswerBuilder(chat));
  const onPiece = async (index: number, piece: TokenPiece) => {
    for (const event of builders[index]?.push(piece) ?? []) await onEvent(index, event);
  };
  const results = await generateAnswers(exchange, chat.lease, chat.plans, onPiece, onPrompt);
  const answers: ChatAnswer[] = [];
  for (const [index, builder] of builders.entries()) {
    for (const event of builder.end()) await onEvent(index, event);
    const result = results[index];
    if (result !== undefined) answers.push(builder.finish(result));
  }
  return answers;
}

class AnswerBuilder {
  readonly #reader: AnswerReader;
  readonly #chat: PreparedChat;
  readonly #texts: string[] = [];
  readonly #reasoning: string[] = [];
  readonly #calls: ChatCall[] = [];
  readonly #tokens: TokenEntry[] = [];
  #held: TokenEntry[] = [];
  #nHeld = 0;
  #nReasoning = 0;

  constructor(chat: PreparedChat) {
    const { tools, toolChoice } = chat.request;
    this.#chat = chat;
    this.#reader = new AnswerReader({
      tools: tools.length > 0 && toolChoice !== "none",
      thinking: chat.thinking,
      names: new Set(tools.map((tool) => tool.function.name)),
    });
  }

  push(piece: TokenPiece): ChatEvent[] {
    this.#held.push(...entriesOf(piece));
    this.#nHeld++;
    return piece.text === "" ? [] : this.#take(this.#reader.push(piece.text));
  }

  end(): ChatEvent[] {
    return this.#take(this.#reader.end());
  }

  finish(result: GenerationResult): ChatAnswer {
    const hasCalls = this.#calls.length > 0;
    const isCut = result.stopReason === "length" || result.stopReason === "context";
    const stopText = result.stopText ?? null;
    return {
      text: this.#texts.join(""),
      reasoning: this.#reasoning.join(""),
      calls: this.#calls,
      end: isCut ? "length" : hasCalls ? "calls" : stopText === null ? "stop" : "stop-text",
      stopText,
      tokens: this.#tokens,
      nReasoning: this.#nReasoning,
      result,
    };
  }

  #take(events: readonly AnswerEvent[]): ChatEvent[] {
    const kept: ChatEvent[] = [];
    for (const event of events) {
      if (event.kind === "text") this.#texts.push(event.text);
      else if (event.kind === "reasoning") {
        this.#reasoning.push(event.text);
        this.#nReasoning += this.#nHeld;
      } else {
        if (this.#calls.length > 0 && !this.#chat.request.parallelCalls) continue;
        this.#calls.push({ name: event.name, arguments: event.arguments });
      }
      const tokens = this.#held;
      this.#held = [];
      this.#nHeld = 0;
      this.#tokens.push(...tokens);
      kept.push({ ...event, tokens });
    }
    return kept;
  }
}
