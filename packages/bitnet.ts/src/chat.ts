/**
 * A conversation over a loaded model: keeps the messages, renders them with the model's template, and drops its oldest
 * turns when the context is full. What earlier turns computed is reused through the KV cache.
 */
import {
  BitNetError,
  type ChatMessage,
  type ChatTemplate,
  type EncodeChatOptions,
  type EncodedChat,
  encodeChat,
  type GenerateOptions,
  type TemplateArguments,
  type Tokenizer,
} from "@bitnet.ts/core";
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

export interface ChatOptions {
  /** System message, kept when old turns are dropped. */
  system?: string;
  /** Earlier turns to go on from, without the system message. */
  messages?: readonly ChatMessage[];
  /** Whether the model thinks before it answers, where its template has that choice. */
  enableThinking?: boolean;
  /** Further variables of the template; JSON values. */
  templateArguments?: TemplateArguments;
}

/** What a chat needs of its model. */
export interface ChatModel {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly contextLength: number;
  generate(prompt: Int32Array, options: GenerateOptions): Generation;
}

const defaultMaxTokens = 256;

/** Share of the context that is kept free for an answer, at most. */
const answerShare = 1 / 4;

export class Chat {
  private readonly model: ChatModel;
  private readonly encoding: EncodeChatOptions;
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
    this.system = options.system ?? null;
    this.turns = [...(options.messages ?? [])];
  }

  /** All messages that the next prompt will hold, the system message first. */
  get messages(): readonly ChatMessage[] {
    return this.withSystem(this.turns);
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
   * rendered when the answer before it has joined the conversation.
   * @throws BitNetError INVALID_ARGUMENT, CONTEXT_EXCEEDED when the message alone does not fit; for a message that had to wait
   * `result` and the iteration fail with it.
   */
  send(text: string, options: GenerateOptions = {}): Generation {
    if (typeof text !== "string")
      throw new BitNetError("INVALID_ARGUMENT", `send: expected a text, found ${kindOf(text)}`);
    const before = this.running;
    if (before === null) return this.begin(text, options);
    const { signal, seed } = options;
    const source = queuedSource(before, () => asSource(this.begin(text, options)), { signal, seed });
    this.wait(Promise.allSettled([before, source.result]));
    return new SingleGeneration(source, signal);
  }

  /** Starts an answer; nothing else of this conversation runs. */
  private begin(text: string, options: GenerateOptions): Generation {
    const message: ChatMessage = { role: "user", content: text };
    this.turns.push(message);
    let generation: Generation;
    try {
      const { ids, thinking } = this.fit(options.maxTokens ?? defaultMaxTokens);
      generation = this.model.generate(ids, { thinking, ...options });
    } catch (error) {
      this.takeBack(message);
      throw error;
    }
    const release = this.wait(generation.result);
    const result = this.record(message, generation.result).finally(release);
    return new SingleGeneration({ result, read: () => recordFirst(generation, result) }, options.signal);
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

  private async record(message: ChatMessage, pending: Promise<GenerationResult>): Promise<GenerationResult> {
    try {
      const whole = await pending;
      const result = { ...whole, text: whole.text.trimStart() };
      if (whole.thinking !== undefined) result.thinking = whole.thinking.trimStart();
      const at = this.turns.indexOf(message);
      const thought = result.thinking ? { reasoning_content: result.thinking } : {};
      if (at >= 0) this.turns.splice(at + 1, 0, { role: "assistant", content: result.text, ...thought });
      return result;
    } catch (error) {
      this.takeBack(message);
      throw error;
    }
  }

  private takeBack(message: ChatMessage): void {
    const at = this.turns.indexOf(message);
    if (at >= 0) this.turns.splice(at, 1);
  }

  /** Ids of the conversation, without as many of its oldest turns as must go to leave room for an answer. */
  private fit(maxTokens: number): EncodedChat {
    const { contextLength, tokenizer, template } = this.model;
    const room = contextLength - Math.max(1, Math.min(maxTokens, Math.floor(contextLength * answerShare)));
    const starts = this.turnStarts();
    const last = starts.length - 1;
    const encodeFrom = (i: number) => {
      const messages = this.withSystem(this.turns.slice(starts[i]));
      return encodeChat(tokenizer, template, messages, this.encoding);
    };
    const found = firstThat(starts.length, encodeFrom, ({ ids }) => ids.length <= room);
    const { index, value: encoded } = found ?? { index: last, value: encodeFrom(last) };
    const { ids } = encoded;
    if (ids.length >= contextLength) {
      throw new BitNetError(
        "CONTEXT_EXCEEDED",
        `chat: the message takes ${ids.length} tokens with its template, but the context holds ${contextLength}`,
        { details: { promptTokens: ids.length, contextLength } },
      );
    }
    const nDropped = starts[index] ?? 0;
    this.turns = this.turns.slice(nDropped);
    this.dropped += nDropped;
    return encoded;
  }

  /** Where the conversation may begin: a message goes with the answer to it; the last message always stays. */
  private turnStarts(): number[] {
    const starts = [0];
    for (let at = 0; this.turns.length - at > 1; starts.push(at))
      at += this.turns[at + 1]?.role === "assistant" ? 2 : 1;
    return starts;
  }

  private withSystem(turns: readonly ChatMessage[]): readonly ChatMessage[] {
    return this.system === null ? [...turns] : [{ role: "system", content: this.system }, ...turns];
  }
}

/**
 * The first of `n` values that suits, where one that suits is followed by others that do; null when none does. Tries a number of
 * them that grows with the logarithm of the answer.
 */
function firstThat<T>(
  n: number,
  valueAt: (index: number) => T,
  suits: (value: T) => boolean,
): { index: number; value: T } | null {
  let low = -1; // does not suit
  let found: { index: number; value: T } | null = null;
  for (let index = 0; found === null; ) {
    const value = valueAt(index);
    if (suits(value)) found = { index, value };
    else if (index === n - 1) return null;
    else {
      low = index;
      index = Math.min(2 * index + 1, n - 1);
    }
  }
  while (found.index - low > 1) {
    const index = Math.floor((low + found.index) / 2);
    const value = valueAt(index);
    if (suits(value)) found = { index, value };
    else low = index;
  }
  return found;
}

function asSource(generation: Generation): GenerationSource {
  return { result: generation.result, read: () => generation[Symbol.asyncIterator]() };
}

/** Ends only after the answer has joined the conversation, so that a loop may send the next message at once. */
async function* recordFirst(
  generation: Generation,
  result: Promise<GenerationResult>,
): AsyncGenerator<TokenPiece, undefined, undefined> {
  try {
    yield* withoutLeadingSpace(generation);
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
  } satisfies Record<keyof ChatOptions, true>);
  const { system, messages, enableThinking, templateArguments } = options;
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
