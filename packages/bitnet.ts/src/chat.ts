/**
 * A conversation over a loaded model: keeps the messages, renders them with the model's template, and drops its oldest
 * turns when the context is full. What earlier turns computed is reused through the KV cache.
 */
import {
  BitNetError,
  type ChatMessage,
  type ChatTemplate,
  encodeChat,
  type GenerateOptions,
  type Tokenizer,
} from "@bitnet.ts/core";
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
  private system: string | null;
  private turns: ChatMessage[];
  private dropped = 0;
  /** Settles when the last message that was sent has its answer; null while nothing runs. */
  private running: Promise<void> | null = null;

  constructor(model: ChatModel, options: ChatOptions = {}) {
    checkChatOptions(options);
    this.model = model;
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
      generation = this.model.generate(this.fit(options.maxTokens ?? defaultMaxTokens), options);
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
      const result = await pending;
      const at = this.turns.indexOf(message);
      if (at >= 0) this.turns.splice(at + 1, 0, { role: "assistant", content: result.text });
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
  private fit(maxTokens: number): Int32Array {
    const { contextLength, tokenizer, template } = this.model;
    const room = contextLength - Math.max(1, Math.min(maxTokens, Math.floor(contextLength * answerShare)));
    for (let nDropped = 0; ; nDropped += this.turns[nDropped + 1]?.role === "assistant" ? 2 : 1) {
      const turns = this.turns.slice(nDropped);
      const messages = this.withSystem(turns);
      const { ids } = encodeChat(tokenizer, template, messages, { addGenerationPrompt: true });
      const isLast = turns.length <= 1;
      if (isLast && ids.length >= contextLength) {
        throw new BitNetError(
          "CONTEXT_EXCEEDED",
          `chat: the message takes ${ids.length} tokens with its template, but the context holds ${contextLength}`,
          { details: { promptTokens: ids.length, contextLength } },
        );
      }
      if (isLast || ids.length <= room) {
        this.turns = turns;
        this.dropped += nDropped;
        return ids;
      }
    }
  }

  private withSystem(turns: readonly ChatMessage[]): readonly ChatMessage[] {
    return this.system === null ? [...turns] : [{ role: "system", content: this.system }, ...turns];
  }
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
    yield* generation;
  } finally {
    await result.catch(() => {});
  }
  return undefined;
}

function checkChatOptions(options: ChatOptions): void {
  checkKnown("createChat", options, { system: true, messages: true } satisfies Record<
    keyof ChatOptions,
    true
  >);
  const { system, messages } = options;
  const fail = (what: string, found: unknown): never => {
    throw new BitNetError("INVALID_ARGUMENT", `createChat: ${what}, found ${kindOf(found)}`);
  };
  if (system !== undefined && typeof system !== "string") fail("system: expected a text", system);
  if (messages !== undefined && !Array.isArray(messages)) fail("messages: expected an array", messages);
  messages?.forEach((message: unknown, i) => {
    if (typeof message !== "object" || message === null || !("role" in message) || !("content" in message))
      fail(`messages[${i}]: expected an object with role and content`, message);
  });
}
