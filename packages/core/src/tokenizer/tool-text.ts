/**
 * Functions that a model may call: how they are told to models whose template knows nothing of them, and how earlier calls and results
 * are written there. Answers are taken apart by the same tags.
 */
import type { ChatMessage, ToolCall } from "./chat-messages.ts";

/** A function as OpenAI's interface describes it; the other dialects are turned into this. */
export interface Tool {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** JSON Schema of the arguments, an object. */
    readonly parameters: Record<string, unknown>;
  };
}

export type ToolChoice = "auto" | "none" | "required" | { readonly name: string };

export const callBegin = "<tool_call>";
export const callEnd = "</tool_call>";

/** Templates that print tools name the variable. */
export function hasToolTemplate(template: { readonly source: string }): boolean {
  return /\btools\b/.test(template.source);
}

const instructions = `Call functions with ${callBegin}{"name": …, "arguments": {…}}${callEnd}:`;

/** Messages for a template that has no place for tools, calls and results. */
export function describeToolsInText(messages: readonly ChatMessage[], tools: readonly Tool[]): ChatMessage[] {
  const plain = messages.map(plainMessage);
  if (tools.length === 0) return plain;
  const listed = tools.map(({ function: { name, description, parameters } }) =>
    JSON.stringify({ name, ...(description === undefined ? {} : { description }), parameters }),
  );
  const text = `${instructions}\n${listed.join("\n")}`;
  const [first, ...rest] = plain;
  if (first?.role === "system")
    return [{ role: "system", content: `${String(first.content)}\n\n${text}` }, ...rest];
  return [{ role: "system", content: text }, ...plain];
}

function plainMessage(message: ChatMessage): ChatMessage {
  if (message.role === "tool")
    return { role: "user", content: `<tool_response>${textOf(message)}</tool_response>` };
  const calls = message.tool_calls ?? [];
  if (calls.length === 0) return { role: message.role, content: textOf(message) };
  const written = calls.map((call) => `${callBegin}${writeCall(call)}${callEnd}`);
  return {
    role: message.role,
    content: [textOf(message), ...written].filter((part) => part !== "").join("\n"),
  };
}

function writeCall({ function: { name, arguments: value } }: ToolCall): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return `{"name": ${JSON.stringify(name)}, "arguments": ${text === "" ? "{}" : text}}`;
}

function textOf({ content }: ChatMessage): string {
  if (typeof content === "string") return content;
  return (content ?? []).map(({ text }) => text).join("\n");
}
