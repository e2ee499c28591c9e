/** OpenAI's chat completions, whole and streamed. */
import { randomUUID } from "node:crypto";
import type { Tokenizer } from "bitnet.ts";
import {
  type ChatAnswer,
  type ChatEvent,
  type ChatRequest,
  type PreparedChat,
  prepareChat,
  runChat,
  type TokenEntry,
} from "../chat-core.ts";
import { invalid, ServeError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { Fields } from "../fields.ts";
import { readFormat } from "./answer-format.ts";
import { readMessages, readToolUse } from "./openai-messages.ts";
import { readAnswerTokens, readSampling, refuse } from "./openai-options.ts";
import { fingerprint, usageOf } from "./openai-usage.ts";
import { promptTeller } from "./prompt-progress.ts";
import { describeTokens, readLogprobs } from "./token-logprobs.ts";

interface StreamWish {
  stream: boolean;
  includeUsage: boolean;
  /** llama-server's: says how far the prompt has been read. */
  tellsPrompt: boolean;
}

export async function chatCompletions(exchange: Exchange): Promise<void> {
  const request = readChat(exchange.body);
  const wish = readStreamWish(exchange.body);
  const chat = await prepareChat(exchange, request);
  const head = {
    id: `chatcmpl-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: request.model ?? chat.lease.name,
    system_fingerprint: fingerprint(exchange.serving),
  };
  if (wish.stream) return streamChat(exchange, chat, head, wish);
  const answers = await runChat(exchange, chat);
  exchange.sendJson({
    ...head,
    object: "chat.completion",
    choices: answers.map((answer, index) => wholeChoice(chat, answer, index)),
    usage: chatUsage(answers),
  });
}

function chatUsage(answers: readonly ChatAnswer[]): object {
  const nReasoning = answers.reduce((sum, answer) => sum + answer.nReasoning, 0);
  return usageOf(
    answers.map(({ result }) => result),
    1,
    nReasoning,
  );
}

export function readStreamWish(body: Fields): StreamWish {
  const stream = body.boolean("stream") ?? false;
  const includeUsage = body.object("stream_options")?.boolean("include_usage") ?? false;
  return { stream, includeUsage, tellsPrompt: body.boolean("return_progress") ?? false };
}

/** What would change the answer, and is not here: sound, searches, and functions as they were asked for before there were tools. */
const refused = ["audio", "web_search_options", "functions", "function_call", "moderation"];

export function readChat(body: Fields): ChatRequest {
  refuse(body, refused);
  const modalities = body.strings("modalities", 8, 16) ?? [];
  if (modalities.some((each) => each !== "text")) throw invalid("modalities", '["text"]');
  const model = body.string("model", 256);
  const messages = readMessages(body);
  return {
    model,
    messages,
    ...readToolUse(body),
    parallelCalls: body.boolean("parallel_tool_calls") ?? true,
    n: body.integer("n", { min: 1, max: 128 }) ?? 1,
    maxTokens:
      readAnswerTokens(body, "max_completion_tokens") ??
      readAnswerTokens(body, "max_tokens") ??
      readAnswerTokens(body, "n_predict"),
    options: { ...readSampling(body), ...readLogprobs(body) },
    format: readFormat(body),
    templateArguments: readTemplateArguments(body),
  };
}

/** Switches of templates, such as `enable_thinking`: plain values, never a template. */
function readTemplateArguments(body: Fields): Record<string, unknown> | undefined {
  const value = body.raw("chat_template_kwargs");
  if (value === undefined) return undefined;
  const fields = new Fields(value, "chat_template_kwargs");
  if (fields.has("chat_template"))
    throw new ServeError(
      "INVALID_INPUT",
      "chat_template_kwargs.chat_template: templates are not taken from requests",
    );
  const entries = Object.entries(value as Record<string, unknown>);
  const isPlain = ([, each]: [string, unknown]) =>
    typeof each === "boolean" || typeof each === "number" || (typeof each === "string" && each.length <= 256);
  if (entries.length > 32 || !entries.every(isPlain))
    throw invalid("chat_template_kwargs", "at most 32 booleans, numbers and short strings");
  return Object.fromEntries(entries);
}

function finishReason(chat: PreparedChat, { end }: ChatAnswer): string {
  if (end === "length") return "length";
  // OpenAI gives "stop" when the function was named.
  return end === "calls" && typeof chat.request.toolChoice === "string" ? "tool_calls" : "stop";
}

function wholeChoice(chat: PreparedChat, answer: ChatAnswer, index: number): object {
  const { tokenizer } = chat.lease.model;
  const calls = answer.calls.map((call) => ({
    id: callId(),
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  }));
  return {
    index,
    message: {
      role: "assistant",
      content: calls.length > 0 && answer.text === "" ? null : answer.text,
      refusal: null,
      ...(answer.reasoning === "" ? {} : { reasoning_content: answer.reasoning }),
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
    },
    logprobs: logprobsOf(chat, answer.tokens, tokenizer),
    finish_reason: finishReason(chat, answer),
  };
}

export function callId(): string {
  return `call_${randomUUID().replaceAll("-", "").slice(0, 24)}`;
}

function logprobsOf(chat: PreparedChat, tokens: readonly TokenEntry[], tokenizer: Tokenizer): object | null {
  if (chat.request.options.logprobs === undefined) return null;
  return { content: describeTokens(tokens, tokenizer), refusal: null };
}

async function streamChat(
  exchange: Exchange,
  chat: PreparedChat,
  head: object,
  { includeUsage, tellsPrompt }: StreamWish,
): Promise<void> {
  const writer = exchange.openStream("sse");
  const { tokenizer } = chat.lease.model;
  const send = (fields: object) =>
    writer.write(
      `data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", ...fields, ...(includeUsage && !("usage" in fields) ? { usage: null } : {}) })}\n\n`,
    );
  const chunk = (index: number, delta: object, tokens: readonly TokenEntry[] = [], more: object = {}) =>
    send({
      ...more,
      choices: [
        {
          index,
          delta,
          logprobs: tokens.length > 0 ? logprobsOf(chat, tokens, tokenizer) : null,
          finish_reason: null,
        },
      ],
    });
  for (const index of chat.plans.keys()) await chunk(index, { role: "assistant", content: null });
  const onEvent = async (index: number, event: ChatEvent) => {
    for (const delta of deltasOf(event)) await chunk(index, delta, event.tokens);
  };
  const onPrompt = promptTeller((index, fields) => chunk(index, {}, [], fields));
  const answers = await runChat(exchange, chat, onEvent, tellsPrompt ? onPrompt : undefined);
  for (const [index, answer] of answers.entries())
    await send({
      choices: [{ index, delta: {}, logprobs: null, finish_reason: finishReason(chat, answer) }],
    });
  if (includeUsage) await send({ choices: [], usage: chatUsage(answers) });
  writer.end("data: [DONE]\n\n");
}

function deltasOf(event: ChatEvent): object[] {
  if (event.kind === "text") return [{ content: event.text }];
  if (event.kind === "reasoning") return [{ reasoning_content: event.text }];
  const { index } = event;
  const called = { index, id: callId(), type: "function", function: { name: event.name, arguments: "" } };
  return [{ tool_calls: [called] }, { tool_calls: [{ index, function: { arguments: event.arguments } }] }];
}
