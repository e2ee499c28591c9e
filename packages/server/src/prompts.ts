/**
 * Messages and texts to token ids, within the limits of the server. Text of users, tools and tool results never becomes a control token.
 */
import type { ChatMessage, EncodedPrompt } from "@bitnet.ts/core";
import { type BitNet, encodePrompt } from "bitnet.ts";
import { ServeError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import type { Lease } from "./models.ts";
import type { ServerSettings } from "./settings.ts";

export function checkPromptSize(characters: number, { maxPromptCharacters }: ServerSettings): void {
  if (characters <= maxPromptCharacters) return;
  throw new ServeError(
    "TOO_LARGE",
    `the prompt has ${characters} characters, but this server accepts ${maxPromptCharacters}`,
  );
}

/** Encodes a conversation, ready for an answer, which may have begun. */
export function encodeMessages(
  exchange: Exchange,
  { model }: Lease,
  messages: readonly ChatMessage[],
  {
    tools,
    templateArguments,
    prefix = "",
  }: {
    tools?: readonly unknown[] | undefined;
    templateArguments?: Record<string, unknown> | undefined;
    prefix?: string;
  },
): Promise<EncodedPrompt> {
  return encodePrompt(model, { kind: "chat", messages, tools, templateArguments, prefix }, exchange.signal);
}

/** Encodes a text to be continued. */
export async function encodeText(exchange: Exchange, lease: Lease, text: string): Promise<Int32Array> {
  const job = { kind: "text", text, bos: lease.model.tokenizer.addBos, special: false } as const;
  return (await encodePrompt(lease.model, job, exchange.signal)).ids;
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
