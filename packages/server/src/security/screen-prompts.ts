/** Leads everything that a model will read past the guards: messages, tools, texts, and token ids by the text they stand for. */
import type { ChatMessage, Tool } from "@bitnet.ts/core";
import type { BitNet } from "bitnet.ts";
import type { Exchange } from "../exchange.ts";
import type { Lease } from "../models.ts";
import { encodeText } from "../prompts.ts";

interface Conversation {
  messages: readonly ChatMessage[];
  tools: readonly Tool[];
  templateArguments?: Record<string, unknown> | undefined;
}

/** @throws ServeError CONTENT_FILTERED */
export function screenChat<T extends Conversation>(exchange: Exchange, request: T): T {
  const { security } = exchange.serving;
  if (!security.changesInput) return request;
  const screen = (text: string) => security.input(exchange, text);
  // What is no message is looked at, but not changed: a schema must stay what it is.
  const { tools, templateArguments } = request;
  if (tools.length > 0) screen(tools.map((tool) => JSON.stringify(tool)).join("\n"));
  if (templateArguments !== undefined) screen(JSON.stringify(templateArguments));
  return { ...request, messages: request.messages.map((message) => screenMessage(message, screen)) };
}

function screenMessage(message: ChatMessage, screen: (text: string) => string): ChatMessage {
  const { content, reasoning_content: thoughts, tool_calls: calls, name, tool_call_id: answered } = message;
  return {
    ...message,
    ...(name === undefined ? {} : { name: screen(name) }),
    ...(answered === undefined ? {} : { tool_call_id: screen(answered) }),
    ...(typeof content === "string" ? { content: screen(content) } : {}),
    ...(Array.isArray(content)
      ? { content: content.map((part) => ({ type: "text" as const, text: screen(part.text) })) }
      : {}),
    ...(typeof thoughts === "string" ? { reasoning_content: screen(thoughts) } : {}),
    ...(calls === undefined
      ? {}
      : {
          tool_calls: calls.map((call) => {
            const given = call.function.arguments;
            const text = screen(typeof given === "string" ? given : JSON.stringify(given));
            const id = call.id === undefined ? {} : { id: screen(call.id) };
            return { ...call, ...id, function: { name: screen(call.function.name), arguments: text } };
          }),
        }),
  };
}

/** Ids as they are, unless the filter changes their text. */
export async function screenIds(exchange: Exchange, lease: Lease, ids: Int32Array): Promise<Int32Array> {
  const { security } = exchange.serving;
  if (!security.changesInput) return ids;
  const text = lease.model.tokenizer.decode(ids, { special: false });
  const screened = security.input(exchange, text);
  return screened === text ? ids : encodeText(exchange, lease, screened);
}

/** A prompt in parts is one text to whoever reads it. */
export function screenParts(
  exchange: Exchange,
  { tokenizer, info }: BitNet,
  parts: readonly (string | number)[],
): readonly (string | number)[] {
  const { security } = exchange.serving;
  if (!security.changesInput) return parts;
  const textOf = (id: number) =>
    id < Math.min(info.vocabSize, tokenizer.vocabSize) ? tokenizer.decode([id]) : "";
  const text = parts.map((part) => (typeof part === "string" ? part : textOf(part))).join("");
  const screened = security.input(exchange, text);
  return screened === text ? parts : [screened];
}
