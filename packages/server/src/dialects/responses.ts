/** OpenAI's responses: create, stream, and the answers that are kept. */
import { randomUUID } from "node:crypto";
import type { Tokenizer } from "bitnet.ts";
import type { StoredItem } from "../answer-store.ts";
import { type ChatAnswer, type ChatEvent, encodeChatRequest, prepareChat, runChat } from "../chat-core.ts";
import { ServeError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import type { Fields } from "../fields.ts";
import { checkPromptSize } from "../prompts.ts";
import { callId } from "./openai-chat.ts";
import { type ResponsesRequest, readResponses, referredIds } from "./responses-input.ts";
import { type DescribedEntry, describeTokens } from "./token-logprobs.ts";

type Item = StoredItem & Record<string, unknown>;
type Send = (event: { type: string } & Record<string, unknown>) => Promise<void>;

const newId = (prefix: string) => `${prefix}_${randomUUID().replaceAll("-", "")}`;

export async function createResponse(exchange: Exchange): Promise<void> {
  const { body, client, serving } = exchange;
  await serving.answers.fetch(referredIds(body), client.tenant);
  const request = readResponses(body, serving.answers, client.tenant);
  const isStream = body.boolean("stream") ?? false;
  const chat = await prepareChat(exchange, request.chat);
  const response = emptyResponse(request, body, request.chat.model ?? chat.lease.name);
  const keep = (done: Record<string, unknown> & { id: string; output: Item[] }) => {
    if (!request.isStored) return;
    const items = [...request.items, ...done.output];
    serving.answers.keep({ id: done.id, tenant: client.tenant, response: done, items, input: request.input });
  };
  if (!isStream) {
    const items = new ItemStream(chat.lease.model.tokenizer, async () => {});
    const [answer] = await runChat(exchange, chat, (_, event) => items.take(event));
    if (answer === undefined) return;
    const done = finished(response, answer, await items.end());
    keep(done);
    return exchange.sendJson(done);
  }
  const writer = exchange.openStream("sse");
  let sequence_number = 0;
  const send: Send = (event) =>
    writer.write(
      `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number: sequence_number++ })}\n\n`,
    );
  const items = new ItemStream(chat.lease.model.tokenizer, send);
  await send({ type: "response.created", response });
  await send({ type: "response.in_progress", response });
  const [answer] = await runChat(exchange, chat, (_, event) => items.take(event));
  if (answer === undefined) return;
  const done = finished(response, answer, await items.end());
  await send({
    type: done.status === "incomplete" ? "response.incomplete" : "response.completed",
    response: done,
  });
  keep(done);
  writer.end();
}

/** How many tokens the prompt of such a request would have. */
export async function countInputTokens(exchange: Exchange): Promise<void> {
  const { body, client, serving } = exchange;
  await serving.answers.fetch(referredIds(body), client.tenant);
  const { chat } = readResponses(body, serving.answers, client.tenant);
  checkPromptSize(JSON.stringify(chat.messages).length / 2, serving.settings);
  const { ids } = await encodeChatRequest(exchange, await exchange.start(chat.model), chat);
  exchange.sendJson({ object: "response.input_tokens", input_tokens: ids.length });
}

export async function getResponse(exchange: Exchange): Promise<void> {
  exchange.sendJson((await findStored(exchange)).response);
}

export async function listInputItems(exchange: Exchange): Promise<void> {
  const { input } = await findStored(exchange);
  const data = input.map((item, index) => ({ id: `item_${index}`, ...(item as object) }));
  exchange.sendJson({
    object: "list",
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: false,
  });
}

export async function deleteResponse(exchange: Exchange): Promise<void> {
  const { id } = await findStored(exchange);
  exchange.serving.answers.delete(id, exchange.client.tenant);
  exchange.sendJson({ id, object: "response", deleted: true });
}

async function findStored(exchange: Exchange) {
  const { id = "" } = exchange.request.params as { id?: string };
  await exchange.serving.answers.fetch([id], exchange.client.tenant);
  const found = exchange.serving.answers.find(id, exchange.client.tenant);
  if (found !== undefined) return found;
  throw new ServeError("NOT_FOUND", `the response ${JSON.stringify(id.slice(0, 80))} is not kept here`);
}

function emptyResponse(request: ResponsesRequest, body: Fields, model: string) {
  const { chat } = request;
  const metadata = body.raw("metadata");
  const tools = body.raw("tools");
  const textFormat = body.object("text")?.raw("format") ?? { type: "text" };
  return {
    id: newId("resp"),
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    status: "in_progress",
    error: null,
    incomplete_details: null,
    instructions: request.instructions,
    max_output_tokens: chat.maxTokens ?? null,
    model,
    output: [] as Item[],
    parallel_tool_calls: chat.parallelCalls,
    previous_response_id: request.previousId,
    store: request.isStored,
    temperature: chat.options.temperature ?? 0.7,
    top_p: chat.options.topP ?? 0.9,
    text: { format: textFormat },
    tool_choice:
      typeof chat.toolChoice === "string"
        ? chat.toolChoice
        : { type: "function", name: chat.toolChoice.name },
    tools: Array.isArray(tools) ? tools.map((tool) => ({ strict: false, ...(tool as object) })) : [],
    truncation: "disabled",
    metadata: typeof metadata === "object" && metadata !== null ? metadata : {},
  };
}

function finished(response: ReturnType<typeof emptyResponse>, answer: ChatAnswer, output: Item[]) {
  const { promptTokens, cachedTokens, ids } = answer.result;
  const isCut = answer.end === "length";
  return {
    ...response,
    status: isCut ? "incomplete" : "completed",
    incomplete_details: isCut ? { reason: "max_output_tokens" } : null,
    output,
    usage: {
      input_tokens: promptTokens,
      input_tokens_details: { cached_tokens: cachedTokens },
      output_tokens: ids.length,
      output_tokens_details: { reasoning_tokens: answer.nReasoning },
      total_tokens: promptTokens + ids.length,
    },
  };
}

/** Turns events into output items, telling each step of it. */
class ItemStream {
  readonly #tokenizer: Tokenizer;
  readonly #send: Send;
  readonly #items: Item[] = [];
  #open: { kind: "text" | "reasoning"; id: string; text: string; logprobs: DescribedEntry[] } | null = null;

  constructor(tokenizer: Tokenizer, send: Send) {
    this.#tokenizer = tokenizer;
    this.#send = send;
  }

  async take(event: ChatEvent): Promise<void> {
    if (event.kind === "call") {
      await this.#close();
      return this.#addCall(event.name, event.arguments);
    }
    if (this.#open?.kind !== event.kind) {
      await this.#close();
      await this.#start(event.kind);
    }
    if (this.#open === null) return;
    this.#open.text += event.text;
    const logprobs = describeTokens(event.tokens, this.#tokenizer);
    this.#open.logprobs.push(...logprobs);
    const place = {
      item_id: this.#open.id,
      output_index: this.#items.length,
      content_index: 0,
      delta: event.text,
    };
    if (event.kind === "text") await this.#send({ type: "response.output_text.delta", ...place, logprobs });
    else await this.#send({ type: "response.reasoning_text.delta", ...place });
  }

  async end(): Promise<Item[]> {
    if (this.#items.length === 0 && this.#open === null) await this.#start("text");
    await this.#close();
    return this.#items;
  }

  async #start(kind: "text" | "reasoning"): Promise<void> {
    const id = newId(kind === "text" ? "msg" : "rs");
    this.#open = { kind, id, text: "", logprobs: [] };
    const item =
      kind === "text"
        ? messageItem(id, [], "in_progress")
        : { id, type: "reasoning", summary: [], content: [], status: "in_progress" };
    const output_index = this.#items.length;
    await this.#send({ type: "response.output_item.added", output_index, item });
    await this.#send({
      type: "response.content_part.added",
      item_id: id,
      output_index,
      content_index: 0,
      part: kind === "text" ? textPart("", []) : reasoningPart(""),
    });
  }

  async #close(): Promise<void> {
    if (this.#open === null) return;
    const { kind, id, text, logprobs } = this.#open;
    this.#open = null;
    const output_index = this.#items.length;
    const place = { item_id: id, output_index, content_index: 0 };
    let item: Item;
    if (kind === "text") {
      await this.#send({ type: "response.output_text.done", ...place, text, logprobs });
      await this.#send({ type: "response.content_part.done", ...place, part: textPart(text, logprobs) });
      item = messageItem(id, [textPart(text, logprobs)], "completed");
    } else {
      await this.#send({ type: "response.reasoning_text.done", ...place, text });
      await this.#send({ type: "response.content_part.done", ...place, part: reasoningPart(text) });
      item = { id, type: "reasoning", summary: [], content: [reasoningPart(text)], status: "completed" };
    }
    await this.#send({ type: "response.output_item.done", output_index, item });
    this.#items.push(item);
  }

  async #addCall(name: string, text: string): Promise<void> {
    const id = newId("fc");
    const output_index = this.#items.length;
    const item = { id, type: "function_call", call_id: callId(), name, arguments: "", status: "in_progress" };
    await this.#send({ type: "response.output_item.added", output_index, item });
    await this.#send({
      type: "response.function_call_arguments.delta",
      item_id: id,
      output_index,
      delta: text,
    });
    await this.#send({
      type: "response.function_call_arguments.done",
      item_id: id,
      output_index,
      name,
      arguments: text,
    });
    const done = { ...item, arguments: text, status: "completed" };
    await this.#send({ type: "response.output_item.done", output_index, item: done });
    this.#items.push(done);
  }
}

function textPart(text: string, logprobs: readonly DescribedEntry[]) {
  return { type: "output_text", text, annotations: [], logprobs };
}

function reasoningPart(text: string) {
  return { type: "reasoning_text", text };
}

function messageItem(id: string, content: object[], status: string): Item {
  return { id, type: "message", role: "assistant", content, status };
}
