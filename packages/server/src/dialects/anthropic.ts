/** Anthropic's messages: whole, streamed, and the count of their tokens. */
import { randomUUID } from "node:crypto";
import type { ChatMessage, Tool, ToolCall, ToolChoice } from "@bitnet.ts/core";
import {
  type ChatAnswer,
  type ChatEvent,
  type ChatRequest,
  encodeChatRequest,
  type PreparedChat,
  prepareChat,
  runChat,
} from "../chat-core.ts";
import { invalid } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { Fields, isObject } from "../fields.ts";
import { checkPromptSize } from "../prompts.ts";
import { listTools, readFunction, readStrictTools } from "./openai-messages.ts";
import {
  defined,
  positiveShare,
  readSeed,
  readStop,
  readTopK,
  refuse,
  refuseForeign,
} from "./openai-options.ts";

export async function messages(exchange: Exchange): Promise<void> {
  const { body } = exchange;
  const maxTokens = body.integer("max_tokens", { min: 1 });
  if (maxTokens === undefined) throw invalid("max_tokens", "a whole number from 1 up; it is required");
  const request = { ...readRequest(body), maxTokens };
  const isStream = body.boolean("stream") ?? false;
  const chat = await prepareChat(exchange, request);
  const id = `msg_${randomUUID().replaceAll("-", "")}`;
  const model = request.model ?? chat.lease.name;
  if (isStream) return streamMessage(exchange, chat, { id, model });
  const [answer] = await runChat(exchange, chat);
  if (answer === undefined) return;
  exchange.sendJson({ ...emptyMessage(id, model, answer), content: blocksOf(answer) });
}

export async function countTokens(exchange: Exchange): Promise<void> {
  const request = readRequest(exchange.body);
  checkPromptSize(JSON.stringify(request.messages).length / 2, exchange.serving.settings);
  const lease = await exchange.start(request.model);
  const { ids } = await encodeChatRequest(exchange, lease, request);
  exchange.sendJson({ input_tokens: ids.length });
}

function readRequest(body: Fields): ChatRequest {
  refuseForeign(body);
  refuse(body, ["container"]);
  const tools = readTools(body);
  const choice = body.object("tool_choice");
  return {
    model: body.string("model", 256),
    messages: readMessages(body),
    tools,
    toolChoice: readToolChoice(choice, tools),
    strictTools: readStrictTools(body),
    parallelCalls: !(choice?.boolean("disable_parallel_tool_use") ?? false),
    n: 1,
    format: readOutputFormat(body),
    options: defined({
      temperature: body.number("temperature", { min: 0, max: 1 }),
      topP: positiveShare(body, "top_p"),
      topK: readTopK(body),
      stop: readStop(body, "stop_sequences"),
      seed: readSeed(body),
    }),
  };
}

/** How hard it should try is not this model's to choose; the form of the answer is kept to. */
function readOutputFormat(body: Fields): ChatRequest["format"] {
  const format = body.object("output_config")?.object("format");
  if (format === undefined) return undefined;
  const type = format.choice("type", ["json_schema"] as const);
  const schema = format.raw("schema");
  if (type === undefined) throw invalid(format.path("type"), "json_schema");
  if (!isObject(schema)) throw invalid(format.path("schema"), "a JSON Schema object");
  return { kind: "schema", schema };
}

function readMessages(body: Fields): ChatMessage[] {
  const list = body.list("messages", 4096);
  if (list === undefined || list.length === 0) throw invalid("messages", "a list of at least one message");
  const system = body.raw("system");
  const read = list.flatMap((each, index) => readMessage(new Fields(each, `messages[${index}]`)));
  if (system === undefined) return read;
  return [{ role: "system", content: readText(system, "system") }, ...read];
}

/** A text, or the texts of blocks. */
function readText(value: unknown, path: string): string {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) throw invalid(path, "a string or a list of text blocks");
  return value
    .map((each, index) => {
      const block = new Fields(each, `${path}[${index}]`);
      if (block.string("type") !== "text")
        throw invalid(block.path("type"), '"text"; images and documents are not supported');
      return block.requiredString("text");
    })
    .join("\n");
}

/** Results of tools become messages of their own, before the text of the message they stand in. */
function readMessage(message: Fields): ChatMessage[] {
  const role = message.choice("role", ["user", "assistant", "system"] as const);
  if (role === undefined) throw invalid(message.path("role"), "user or assistant");
  const content = message.raw("content");
  if (typeof content === "string") return [{ role, content }];
  if (!Array.isArray(content)) throw invalid(message.path("content"), "a string or a list of blocks");
  const texts: string[] = [];
  const calls: ToolCall[] = [];
  const results: ChatMessage[] = [];
  const thoughts: string[] = [];
  for (const [index, each] of content.entries()) {
    const block = new Fields(each, `${message.path("content")}[${index}]`);
    const type = block.requiredString("type");
    if (type === "text") texts.push(block.requiredString("text"));
    else if (type === "thinking") thoughts.push(block.string("thinking") ?? "");
    else if (type === "redacted_thinking") continue;
    else if (type === "tool_use") calls.push(readCall(block));
    else if (type === "tool_result") results.push(readResult(block));
    else
      throw invalid(
        block.path("type"),
        "text, tool_use, tool_result or thinking; images and documents are not supported",
      );
  }
  const rest: ChatMessage = {
    role,
    content: texts.join("\n"),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
    ...(thoughts.length > 0 ? { reasoning_content: thoughts.join("\n") } : {}),
  };
  return results.length > 0 && texts.length === 0 && calls.length === 0 ? results : [...results, rest];
}

function readCall(block: Fields): ToolCall {
  const input = block.raw("input") ?? {};
  if (!isObject(input)) throw invalid(block.path("input"), "an object");
  const name = block.requiredString("name");
  return {
    id: block.string("id", 256) ?? "",
    type: "function",
    function: { name, arguments: JSON.stringify(input) },
  };
}

function readResult(block: Fields): ChatMessage {
  const content = block.raw("content") ?? "";
  const text = readText(content, block.path("content"));
  const isError = block.boolean("is_error") ?? false;
  return {
    role: "tool",
    tool_call_id: block.requiredString("tool_use_id"),
    content: isError ? `error: ${text}` : text,
  };
}

function readTools(body: Fields): Tool[] {
  return listTools(body).map((each, index) => {
    const tool = new Fields(each, `tools[${index}]`);
    const type = tool.string("type") ?? "custom";
    if (type !== "custom")
      throw invalid(tool.path("type"), '"custom": tools of the vendor cannot be run here');
    return readFunction(tool, "input_schema");
  });
}

function readToolChoice(choice: Fields | undefined, tools: readonly Tool[]): ToolChoice {
  const types = ["auto", "any", "tool", "none"] as const;
  const type = choice?.choice("type", types);
  if (choice !== undefined && type === undefined)
    throw invalid("tool_choice.type", `one of ${types.join(", ")}`);
  if (type === undefined) return tools.length > 0 ? "auto" : "none";
  if (type === "none" || tools.length === 0) return "none";
  if (type === "any") return "required";
  if (type === "auto") return "auto";
  const name = choice?.requiredString("name") ?? "";
  if (!tools.some((tool) => tool.function.name === name))
    throw invalid("tool_choice.name", "the name of one of the tools");
  return { name };
}

function emptyMessage(id: string, model: string, answer: ChatAnswer | null) {
  return {
    id,
    type: "message",
    role: "assistant",
    model,
    container: null,
    diagnostics: null,
    stop_details: null,
    content: [],
    stop_reason: answer === null ? null : stopReason(answer),
    stop_sequence: answer?.stopText ?? null,
    usage: usageOf(answer),
  };
}

function stopReason({ end, result }: ChatAnswer): string {
  if (end === "calls") return "tool_use";
  if (end === "stop-text") return "stop_sequence";
  if (result.stopReason === "context") return "model_context_window_exceeded";
  return end === "length" ? "max_tokens" : "end_turn";
}

function usageOf(answer: ChatAnswer | null, promptTokens = 0) {
  const cached = answer?.result.cachedTokens ?? 0;
  return {
    cache_creation: null,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cached,
    inference_geo: null,
    input_tokens: (answer?.result.promptTokens ?? promptTokens) - cached,
    output_tokens: answer?.result.ids.length ?? 0,
    output_tokens_details: null,
    server_tool_use: null,
    service_tier: "standard",
    speed: null,
  };
}

function toolUseId(): string {
  return `toolu_${randomUUID().replaceAll("-", "").slice(0, 24)}`;
}

function blocksOf(answer: ChatAnswer): object[] {
  const blocks: object[] = [];
  if (answer.reasoning !== "") blocks.push({ type: "thinking", thinking: answer.reasoning, signature: "" });
  if (answer.text !== "" || answer.calls.length === 0)
    blocks.push({ type: "text", text: answer.text, citations: [] });
  for (const call of answer.calls)
    blocks.push({
      type: "tool_use",
      id: toolUseId(),
      name: call.name,
      input: parsedInput(call.arguments),
      caller: { type: "direct" },
    });
  return blocks;
}

function parsedInput(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : { value };
  } catch {
    return {};
  }
}

async function streamMessage(
  exchange: Exchange,
  chat: PreparedChat,
  { id, model }: { id: string; model: string },
): Promise<void> {
  const writer = exchange.openStream("named-sse");
  const send = (event: { type: string } & Record<string, unknown>) =>
    writer.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  const blocks = new BlockStream(send);
  await send({
    type: "message_start",
    message: { ...emptyMessage(id, model, null), usage: usageOf(null, chat.ids.length) },
  });
  const [answer] = await runChat(exchange, chat, (_, event) => blocks.take(event));
  if (answer === undefined) return;
  await blocks.end();
  const { input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens } =
    usageOf(answer);
  await send({
    type: "message_delta",
    delta: {
      container: null,
      stop_details: null,
      stop_reason: stopReason(answer),
      stop_sequence: answer.stopText,
    },
    usage: {
      input_tokens,
      output_tokens,
      cache_creation_input_tokens,
      cache_read_input_tokens,
      output_tokens_details: null,
      server_tool_use: null,
    },
  });
  await send({ type: "message_stop" });
  writer.end();
}

/** Opens and closes the blocks of a streamed message around their deltas. */
class BlockStream {
  readonly #send: (event: { type: string } & Record<string, unknown>) => Promise<void>;
  #index = -1;
  #open: "text" | "thinking" | null = null;

  constructor(send: (event: { type: string } & Record<string, unknown>) => Promise<void>) {
    this.#send = send;
  }

  async take(event: ChatEvent): Promise<void> {
    if (event.kind === "call") {
      await this.#close();
      await this.#start({
        type: "tool_use",
        id: toolUseId(),
        name: event.name,
        input: {},
        caller: { type: "direct" },
      });
      await this.#delta({ type: "input_json_delta", partial_json: event.arguments });
      await this.#stop();
      return;
    }
    const kind = event.kind === "text" ? "text" : "thinking";
    if (this.#open !== kind) {
      await this.#close();
      await this.#start(
        kind === "text"
          ? { type: "text", text: "", citations: [] }
          : { type: "thinking", thinking: "", signature: "" },
      );
      this.#open = kind;
    }
    await this.#delta(
      kind === "text"
        ? { type: "text_delta", text: event.text }
        : { type: "thinking_delta", thinking: event.text, estimated_tokens: null },
    );
  }

  async end(): Promise<void> {
    if (this.#index < 0) await this.take({ kind: "text", text: "", tokens: [] });
    await this.#close();
  }

  async #close(): Promise<void> {
    if (this.#open === null) return;
    this.#open = null;
    await this.#stop();
  }

  #start(block: object): Promise<void> {
    return this.#send({ type: "content_block_start", index: ++this.#index, content_block: block });
  }

  #delta(delta: object): Promise<void> {
    return this.#send({ type: "content_block_delta", index: this.#index, delta });
  }

  #stop(): Promise<void> {
    return this.#send({ type: "content_block_stop", index: this.#index });
  }
}
