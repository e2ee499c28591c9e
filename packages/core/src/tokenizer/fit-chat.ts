/**
 * A conversation that fits a context: its oldest turns go where there is no room for them and an answer. Knows nothing of models.
 */
import { BitNetError } from "../base/errors.ts";
import type { ChatMessage } from "./chat-messages.ts";
import type { ChatTemplate } from "./chat-template.ts";
import { type EncodeChatOptions, type EncodedChat, encodeChat } from "./encode-chat.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { describeToolsInText, hasToolTemplate, type Tool } from "./tool-text.ts";

export interface Conversation {
  /** Kept when old turns are dropped. */
  readonly system: string | null;
  readonly turns: readonly ChatMessage[];
  readonly tools: readonly Tool[];
  /** Tokens of the context, and of them those that are kept free for an answer. */
  readonly contextLength: number;
  readonly answerTokens: number;
}

export interface FittedChat extends EncodedChat {
  /** Turns that had to go, counted from the oldest. */
  readonly nDropped: number;
}

/** @throws BitNetError as `encodeChat`; CONTEXT_EXCEEDED when the last message alone does not fit. */
export function fitChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  conversation: Conversation,
  options: EncodeChatOptions,
): FittedChat {
  const { turns, tools, contextLength, answerTokens } = conversation;
  const room = contextLength - Math.max(1, answerTokens);
  const starts = turnStarts(turns);
  const last = starts.length - 1;
  const knowsTools = hasToolTemplate(template);
  const usesTools = tools.length > 0 || turns.some((turn) => turn.role === "tool" || turn.tool_calls);
  const encodeFrom = (i: number) => {
    const messages = withSystem(conversation.system, turns.slice(starts[i]));
    if (knowsTools && tools.length > 0)
      return encodeChat(tokenizer, template, messages, { ...options, tools });
    const plain = knowsTools || !usesTools ? messages : describeToolsInText(messages, tools);
    return encodeChat(tokenizer, template, plain, options);
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
  return { ...encoded, nDropped: starts[index] ?? 0 };
}

export function withSystem(system: string | null, turns: readonly ChatMessage[]): ChatMessage[] {
  return system === null ? [...turns] : [{ role: "system", content: system }, ...turns];
}

/** Where the conversation may begin: a message goes with the answer to it, calls and results included; the last message always stays. */
function turnStarts(turns: readonly ChatMessage[]): number[] {
  const starts = [0];
  for (let at = 1; at < turns.length; at++) {
    const { role } = turns[at] ?? {};
    if (role !== "assistant" && role !== "tool") starts.push(at);
  }
  return starts;
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
