/**
 * Messages and texts to token ids, within the limits of the server. Text of users, tools and tool results never becomes a control token.
 */
import { type ChatMessage, encodeChat } from "@bitnet.ts/core";
import type { BitNet } from "bitnet.ts";
import { ServeError } from "./errors.ts";
import type { ServerSettings } from "./settings.ts";

export function checkPromptSize(characters: number, { maxPromptCharacters }: ServerSettings): void {
  if (characters <= maxPromptCharacters) return;
  throw new ServeError(
    "TOO_LARGE",
    `the prompt has ${characters} characters, but this server accepts ${maxPromptCharacters}`,
  );
}

/** Encodes a conversation, ready for an answer. */
export function encodeMessages(
  model: BitNet,
  messages: readonly ChatMessage[],
  options: {
    tools?: readonly unknown[] | undefined;
    templateArguments?: Record<string, unknown> | undefined;
  },
): { ids: Int32Array; text: string } {
  return encodeChat(model.tokenizer, model.template, messages, { addGenerationPrompt: true, ...options });
}

/** Encodes a text to be continued. */
export function encodeText(model: BitNet, text: string): Int32Array {
  const { tokenizer } = model;
  return tokenizer.encode(text, { bos: tokenizer.addBos });
}

/** Whether there is room for a token at all; an error names the numbers as OpenAI does. */
export function checkRoom(model: BitNet, ids: Int32Array): void {
  const { contextLength } = model.info;
  if (ids.length < contextLength) return;
  throw new ServeError(
    "CONTEXT_EXCEEDED",
    `this model's maximum context length is ${contextLength} tokens, but the prompt has ${ids.length} tokens`,
    { param: "messages" },
  );
}
