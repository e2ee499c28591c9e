/** Requests of OpenAI's responses: their items as messages. */
import type { ChatMessage, ToolCall } from "@bitnet.ts/core";
import type { AnswerStore } from "../answer-store.ts";
import type { ChatRequest } from "../chat-core.ts";
import { invalid, ServeError } from "../errors.ts";
import { Fields, isObject } from "../fields.ts";
import { readContent, readToolUse } from "./openai-messages.ts";
import { readSampling, refuse } from "./openai-options.ts";

export interface ResponsesRequest {
  chat: ChatRequest;
  /** The items of this turn, references resolved. */
  input: readonly unknown[];
  /** All items, earlier turns first. */
  items: readonly unknown[];
  instructions: string | null;
  previousId: string | null;
  isStored: boolean;
}

/** Ids of earlier answers and items that a request speaks of. */
export function referredIds(body: Fields): string[] {
  const input = body.raw("input");
  const items = Array.isArray(input) ? (input as { type?: unknown; id?: unknown }[]) : [];
  const references = items.filter((item) => item?.type === "item_reference").map((item) => item.id);
  return [body.raw("previous_response_id"), ...references].filter((id) => typeof id === "string");
}

/** What would be done elsewhere, or be something else than what was asked for. */
const refused = ["background", "conversation", "prompt", "moderation"];

export function readResponses(body: Fields, store: AnswerStore, tenant: string): ResponsesRequest {
  refuse(body, refused);
  const given = body.raw("input");
  const listed: unknown[] =
    typeof given === "string"
      ? [{ type: "message", role: "user", content: given }]
      : (body.list("input", 4096) ?? []);
  const previousId = body.string("previous_response_id", 256) ?? null;
  const earlier = previousId === null ? [] : earlierItems(store, previousId, tenant);
  const input = listed.map((item, index) =>
    resolveReference(new Fields(item, `input[${index}]`), item, store, tenant),
  );
  const items = [...earlier, ...input];
  if (items.length === 0) throw invalid("input", "a text or a list of items");
  const instructions = body.string("instructions") ?? null;
  const messages = toMessages(items);
  const format = readTextFormat(body);
  return {
    chat: {
      model: body.string("model", 256),
      messages: instructions === null ? messages : [{ role: "system", content: instructions }, ...messages],
      ...readToolUse(body),
      parallelCalls: body.boolean("parallel_tool_calls") ?? true,
      n: 1,
      maxTokens: body.integer("max_output_tokens", { min: 1 }),
      options: { ...readSampling(body), ...readLogprobs(body) },
      format,
    },
    input,
    items,
    instructions,
    previousId,
    isStored: body.boolean("store") ?? true,
  };
}

function readLogprobs(body: Fields): { logprobs?: number } {
  const top = body.integer("top_logprobs", { min: 0, max: 20 }) ?? 0;
  const isIncluded = body.strings("include", 32, 256)?.includes("message.output_text.logprobs") ?? false;
  return isIncluded || top > 0 ? { logprobs: top } : {};
}

function readTextFormat(body: Fields): ChatRequest["format"] {
  const format = body.object("text")?.object("format");
  const type = format?.choice("type", ["text", "json_object", "json_schema"] as const);
  if (format === undefined || type === undefined || type === "text") return undefined;
  if (type === "json_object") return { kind: "json" };
  const schema = format.raw("schema");
  if (!isObject(schema)) throw invalid(format.path("schema"), "a JSON Schema object");
  return { kind: "schema", schema };
}

function earlierItems(store: AnswerStore, id: string, tenant: string): readonly unknown[] {
  const found = store.find(id, tenant);
  if (found !== undefined) return found.items;
  throw new ServeError(
    "NOT_FOUND",
    `previous_response_id: the response ${JSON.stringify(id.slice(0, 80))} is not kept here; send its items instead`,
    {
      param: "previous_response_id",
    },
  );
}

function resolveReference(item: Fields, value: unknown, store: AnswerStore, tenant: string): unknown {
  if (item.raw("type") !== "item_reference") return value;
  const id = item.requiredString("id");
  const found = store.findItem(id, tenant);
  if (found !== undefined) return found;
  throw new ServeError(
    "NOT_FOUND",
    `${item.path("id")}: the item ${JSON.stringify(id.slice(0, 80))} is not kept here; send it whole, as clients do with store: false`,
    {
      param: item.path("id"),
    },
  );
}

function toMessages(items: readonly unknown[]): ChatMessage[] {
  const messages: ChatMessage[] = [];
  for (const [index, value] of items.entries()) {
    const item = new Fields(value, `input[${index}]`);
    const type = item.string("type") ?? "message";
    if (type === "reasoning") continue;
    if (type === "message") messages.push(readMessage(item));
    else if (type === "function_call") addCall(messages, item);
    else if (type === "function_call_output")
      messages.push({
        role: "tool",
        tool_call_id: item.requiredString("call_id"),
        content: readOutput(item),
      });
    else
      throw invalid(
        item.path("type"),
        "message, function_call, function_call_output, item_reference or reasoning",
      );
  }
  return messages;
}

function readMessage(item: Fields): ChatMessage {
  const role = item.choice("role", ["user", "assistant", "system", "developer"] as const);
  if (role === undefined) throw invalid(item.path("role"), "user, assistant, system or developer");
  const content = readContent(item);
  if (content === undefined) throw invalid(item.path("content"), "a text or a list of text parts");
  return { role: role === "developer" ? "system" : role, content };
}

/** Calls that follow each other are one message. */
function addCall(messages: ChatMessage[], item: Fields): void {
  const call: ToolCall = {
    id: item.requiredString("call_id"),
    type: "function",
    function: { name: item.requiredString("name"), arguments: item.string("arguments") ?? "{}" },
  };
  const last = messages.at(-1);
  if (last?.role === "assistant")
    messages[messages.length - 1] = { ...last, tool_calls: [...(last.tool_calls ?? []), call] };
  else messages.push({ role: "assistant", content: "", tool_calls: [call] });
}

function readOutput(item: Fields): string {
  const output = item.raw("output");
  if (typeof output === "string") return output;
  return readContent(new Fields({ content: output ?? [] }, item.path("output"))) ?? "";
}
