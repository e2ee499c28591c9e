/**
 * A conversation over a loaded model: keeps the messages, renders them with the model's template, and drops its oldest
 * turns when the context is full. What earlier turns computed is reused through the KV cache.
 */
import {
  BitNetError,
  type ChatMessage,
  type EncodeChatOptions,
  type EncodedPrompt,
  type EncodeJob,
  type GenerateOptions,
  type TemplateArguments,
  withSystem,
} from "@bitnet.ts/core";
import type { GrammarSpec } from "@bitnet.ts/grammar";
import { type AnswerOptions, FormedGeneration, takeForm, type ValueGeneration } from "./answer-form.ts";
import { withoutLeadingSpace } from "./answer-start.ts";
import {
  type Generation,
  type GenerationResult,
  type GenerationSource,
  SingleGeneration,
  type TokenPiece,
} from "./generation.ts";
import { checkKnown, kindOf } from "./known-options.ts";
import { queuedSource } from "./queued-source.ts";
import type { FromSchema, JsonSchema } from "./schema-type.ts";
import {
  callsForm,
  checkTools,
  describedTools,
  type ToolOptions,
  type ToolResult,
  withToolCalls,
} from "./tool-calls.ts";

export interface ChatOptions extends ToolOptions {
  /** System message, kept when old turns are dropped. */
  system?: string;
  /** Earlier turns to go on from, without the system message. */
  messages?: readonly ChatMessage[];
  /** Whether the model thinks before it answers, where its template has that choice. */
  enableThinking?: boolean;
  /** Further variables of the template; JSON values. */
  templateArguments?: TemplateArguments;
}

/** Tools given here count instead of those of the chat. */
export type SendOptions = AnswerOptions & ToolOptions;

/** What a chat needs of its model. */
export interface ChatModel {
  readonly contextLength: number;
  /** A promise where the conversation is long enough for another thread. */
  fit(job: EncodeJob, signal: AbortSignal | undefined): EncodedPrompt | Promise<EncodedPrompt>;
  begin(prompt: Int32Array, options: GenerateOptions, form: GrammarSpec | null): GenerationSource;
}

const defaultMaxTokens = 256;

/** Share of the context that is kept free for an answer, at most. */
const answerShare = 1 / 4;

export class Chat {
  private readonly model: ChatModel;
  private readonly encoding: EncodeChatOptions;
  private readonly tools: ToolOptions;
  private nCalls = 0;
  private system: string | null;
  private turns: ChatMessage[];
  private dropped = 0;
  /** Settles when the last message that was sent has its answer; null while nothing runs. */
  private running: Promise<void> | null = null;

  constructor(model: ChatModel, options: ChatOptions = {}) {
    checkChatOptions(options);
    this.model = model;
    const { enableThinking, templateArguments } = options;
    this.encoding = { addGenerationPrompt: true, enableThinking, templateArguments };
    this.tools = toolsOf(options);
    this.system = options.system ?? null;
    this.turns = [...(options.messages ?? [])];
  }

  /** All messages that the next prompt will hold, the system message first. */
  get messages(): readonly ChatMessage[] {
    return withSystem(this.system, this.turns);
  }

  /** Messages that have been dropped because the context was full. */
  get droppedMessages(): number {
    return this.dropped;
  }

  setSystem(text: string | null): void {
    this.system = text;
  }

  clear(): void {
    this.turns = [];
    this.dropped = 0;
  }

  /**
   * Sends a user message and streams the answer, which joins the conversation when it ends (also when it was cut short by
   * leaving the loop or by `signal`). A failed generation takes the message back. While an answer runs, messages wait: each is
   * rendered when the answer before it has joined the conversation. With `tools`, `result.toolCalls` holds the calls that the model has
   * made; `sendToolResults` goes on from there.
   * @throws BitNetError INVALID_ARGUMENT, CONTEXT_EXCEEDED when the message alone does not fit; for a message that had to wait
   * `result` and the iteration fail with it.
   */
  send<const S extends JsonSchema>(
    text: string,
    options: Omit<SendOptions, "schema"> & { schema: S },
  ): ValueGeneration<FromSchema<S>>;
  send(text: string, options: SendOptions & { json: true }): ValueGeneration<Record<string, unknown>>;
  send(text: string, options?: SendOptions): Generation;
  send(text: string, options: SendOptions = {}): Generation {
    if (typeof text !== "string")
      throw new BitNetError("INVALID_ARGUMENT", `send: expected a text, found ${kindOf(text)}`);
    return this.queue(() => [{ role: "user", content: text }], options);
  }

  /**
   * Answers all calls of the last answer and streams what the model says to that.
   * @throws BitNetError INVALID_ARGUMENT when the results are not those of the calls that wait for one.
   */
  sendToolResults(results: readonly ToolResult[], options: SendOptions = {}): Generation {
    if (!Array.isArray(results))
      throw new BitNetError("INVALID_ARGUMENT", `sendToolResults: expected a list, found ${kindOf(results)}`);
    return this.queue(() => this.resultMessages(results), options);
  }

  private queue(messages: () => ChatMessage[], options: SendOptions): Generation {
    const tools = { ...this.tools, ...toolsOf(options) };
    checkTools("send", tools);
    const { tools: _, toolChoice: __, parallelToolCalls: ___, ...answer } = options;
    const { form, rest } = takeForm(answer);
    const calls = callsForm(tools);
    if (form !== null && calls?.kind === "calls" && calls.mustCall)
      throw new BitNetError("INVALID_ARGUMENT", "send: an answer that must be a call can have no other form");
    const begin = () => this.begin(messages(), rest, tools, form ?? calls);
    const { signal, seed } = rest;
    const before = this.running;
    const source = before === null ? begin() : queuedSource(before, begin, { signal, seed });
    if (before !== null) this.wait(Promise.allSettled([before, source.result]));
    return form === null ? new SingleGeneration(source, signal) : new FormedGeneration(source, signal);
  }

  /** Starts an answer; nothing else of this conversation runs. */
  private begin(
    messages: readonly ChatMessage[],
    options: GenerateOptions,
    tools: ToolOptions,
    form: GrammarSpec | null,
  ): GenerationSource {
    this.turns.push(...messages);
    let source: GenerationSource;
    try {
      const fitted = this.fit(options.maxTokens ?? defaultMaxTokens, tools, options.signal);
      source = this.beginFitted(fitted, options, form);
    } catch (error) {
      this.takeBack(messages);
      throw error;
    }
    const names = new Set((tools.tools ?? []).map(({ name }) => name));
    const told = names.size === 0 ? source : withToolCalls(source, names, this.nCalls);
    const release = this.wait(told.result);
    const result = this.record(messages, told.result).finally(release);
    return { result, read: () => recordFirst(told, result) };
  }

  private resultMessages(results: readonly ToolResult[]): ChatMessage[] {
    const calls = this.turns.at(-1)?.tool_calls ?? [];
    const ids = calls.map(({ id }) => id);
    const isComplete =
      ids.length > 0 &&
      ids.length === results.length &&
      ids.every((id) => results.some((each) => each.id === id));
    if (!isComplete)
      throw new BitNetError(
        "INVALID_ARGUMENT",
        ids.length === 0
          ? "sendToolResults: the last answer has called nothing"
          : `sendToolResults: expected one result for each of ${ids.join(", ")}, found ${results.map(({ id }) => id).join(", ") || "none"}`,
      );
    return calls.map(({ id, function: { name } }) => {
      const content = results.find((each) => each.id === id)?.content;
      return {
        role: "tool",
        name,
        content: typeof content === "string" ? content : (JSON.stringify(content) ?? "null"),
        ...(id === undefined ? {} : { tool_call_id: id }),
      };
    });
  }

  /** Later messages wait for `work`. @returns Ends the waiting at once, so that whoever has awaited a result finds the chat idle. */
  private wait(work: Promise<unknown>): () => void {
    const done: Promise<void> = work.then(
      () => release(),
      () => release(),
    );
    const release = () => {
      if (this.running === done) this.running = null;
    };
    this.running = done;
    return release;
  }

  private async record(
    messages: readonly ChatMessage[],
    pending: Promise<GenerationResult>,
  ): Promise<GenerationResult> {
    try {
      const whole = await pending;
      const result = { ...whole, text: whole.text.trimStart() };
      if (whole.thinking !== undefined) result.thinking = whole.thinking.trimStart();
      const last = messages.at(-1);
      const at = last === undefined ? -1 : this.turns.indexOf(last);
      const thought = result.thinking ? { reasoning_content: result.thinking } : {};
      const calls = (result.toolCalls ?? []).map(({ id, name, arguments: given }) => ({
        id,
        type: "function" as const,
        function: { name, arguments: given },
      }));
      this.nCalls += calls.length;
      const answer = { role: "assistant", content: result.text, ...thought };
      const turn = calls.length === 0 ? answer : { ...answer, tool_calls: calls };
      if (at >= 0) this.turns.splice(at + 1, 0, turn);
      return result;
    } catch (error) {
      this.takeBack(messages);
      throw error;
    }
  }

  private takeBack(messages: readonly ChatMessage[]): void {
    this.turns = this.turns.filter((turn) => !messages.includes(turn));
  }

  /** The conversation as a prompt, without as many of its oldest turns as must go to leave room for an answer. */
  private fit(
    maxTokens: number,
    options: ToolOptions,
    signal: AbortSignal | undefined,
  ): FittedTurns | Promise<FittedTurns> {
    const { contextLength } = this.model;
    const turns = [...this.turns];
    const answerTokens = Math.min(maxTokens, Math.floor(contextLength * answerShare));
    const tools = describedTools(options);
    const conversation = { system: this.system, turns, tools, contextLength, answerTokens };
    const job = { kind: "conversation", conversation, options: this.encoding } as const;
    const fitted = this.model.fit(job, signal);
    return fitted instanceof Promise
      ? fitted.then((prompt) => ({ prompt, turns }))
      : { prompt: fitted, turns };
  }

  private beginFitted(
    fitted: FittedTurns | Promise<FittedTurns>,
    options: GenerateOptions,
    form: GrammarSpec | null,
  ): GenerationSource {
    const start = ({ prompt, turns }: FittedTurns) => {
      this.drop(turns.slice(0, prompt.nDropped));
      return this.model.begin(prompt.ids, { thinking: prompt.thinking, ...options }, form);
    };
    if (!(fitted instanceof Promise)) return start(fitted);
    let there: FittedTurns | null = null;
    const ready = fitted.then((done) => {
      there = done;
    });
    const { signal, seed } = options;
    return queuedSource(ready, () => start(there as unknown as FittedTurns), { signal, seed });
  }

  /** Turns that have no room any more; others may have been taken out meanwhile. */
  private drop(turns: readonly ChatMessage[]): void {
    const gone = new Set(turns);
    const left = this.turns.filter((turn) => !gone.has(turn));
    this.dropped += this.turns.length - left.length;
    this.turns = left;
  }
}

interface FittedTurns {
  readonly prompt: EncodedPrompt;
  /** Those that the prompt was made of, and others that had to go. */
  readonly turns: readonly ChatMessage[];
}

/** Only what is there, so that it can be laid over other options. */
function toolsOf({ tools, toolChoice, parallelToolCalls }: ToolOptions): ToolOptions {
  return {
    ...(tools === undefined ? {} : { tools }),
    ...(toolChoice === undefined ? {} : { toolChoice }),
    ...(parallelToolCalls === undefined ? {} : { parallelToolCalls }),
  };
}

/** Ends only after the answer has joined the conversation, so that a loop may send the next message at once. */
async function* recordFirst(
  source: GenerationSource,
  result: Promise<GenerationResult>,
): AsyncGenerator<TokenPiece, undefined, undefined> {
  const pieces = source.read();
  try {
    yield* withoutLeadingSpace({ [Symbol.asyncIterator]: () => pieces });
  } finally {
    await result.catch(() => {});
  }
  return undefined;
}

function checkChatOptions(options: ChatOptions): void {
  checkKnown("createChat", options, {
    system: true,
    messages: true,
    enableThinking: true,
    templateArguments: true,
    tools: true,
    toolChoice: true,
    parallelToolCalls: true,
  } satisfies Record<keyof ChatOptions, true>);
  const { system, messages, enableThinking, templateArguments } = options;
  checkTools("createChat", options);
  const fail = (what: string, found: unknown): never => {
    throw new BitNetError("INVALID_ARGUMENT", `createChat: ${what}, found ${kindOf(found)}`);
  };
  if (system !== undefined && typeof system !== "string") fail("system: expected a text", system);
  if (enableThinking !== undefined && typeof enableThinking !== "boolean")
    fail("enableThinking: expected true or false", enableThinking);
  if (
    templateArguments !== undefined &&
    (typeof templateArguments !== "object" || templateArguments === null)
  )
    fail("templateArguments: expected an object", templateArguments);
  if (messages !== undefined && !Array.isArray(messages)) fail("messages: expected an array", messages);
  messages?.forEach((message: unknown, i) => {
    if (typeof message !== "object" || message === null || !("role" in message) || !("content" in message))
      fail(`messages[${i}]: expected an object with role and content`, message);
  });
}
