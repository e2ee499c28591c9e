/** Ollama's chat and generate, whole and as lines of JSON. */
import { type AnswerEvent, AnswerReader } from "@bitnet.ts/core";
import type { GenerateOptions, GenerationResult } from "bitnet.ts";
import {
  type ChatRequest,
  entriesOf,
  maxTokensFor,
  type PreparedChat,
  prepareChat,
  runChat,
  type TokenEntry,
  thinkingOf,
} from "../chat-core.ts";
import { invalid, ServeError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { Fields, isObject } from "../fields.ts";
import { compileForm, generateAnswers, reserveFor } from "../generating.ts";
import type { Lease } from "../models.ts";
import { checkPromptSize, checkRoom, encodeMessages, encodeText } from "../prompts.ts";
import { screenIds } from "../security/screen-prompts.ts";
import { readOllamaFormat } from "./answer-format.ts";
import { readKeepAlive } from "./keep-alive.ts";
import { readMessages, readToolUse } from "./openai-messages.ts";
import { defined, positiveShare, readSeed, readStop, readTopK } from "./openai-options.ts";
import { describeTokens, readLogprobs } from "./token-logprobs.ts";

export async function ollamaChat(exchange: Exchange): Promise<void> {
  const { body } = exchange;
  const model = body.requiredString("model");
  const isStream = body.boolean("stream") ?? true;
  const { options, maxTokens } = readOptions(body);
  const list = body.list("messages", 4096) ?? [];
  if (list.length === 0) return sendLoaded(exchange, model, { message: { role: "assistant", content: "" } });
  for (const [index, each] of list.entries()) refuseImages(new Fields(each, `messages[${index}]`));
  const request: ChatRequest = {
    model,
    messages: readMessages(new Fields({ messages: list.map(inOpenaiTerms) })),
    // Ollama has no choice of tools; clients that force calls send it all the same.
    ...readToolUse(body),
    parallelCalls: true,
    n: 1,
    maxTokens,
    options: { ...options, ...readLogprobs(body) },
    format: readOllamaFormat(body),
    templateArguments: readThink(body),
  };
  const keepAlive = readKeepAlive(body);
  const chat = await prepareChat(exchange, request);
  if (keepAlive !== undefined) chat.lease.keepAlive(keepAlive);
  const line = (message: object, tokens: readonly TokenEntry[] = []) => ({
    model,
    created_at: new Date().toISOString(),
    message,
    ...logprobsOf(tokens, chat.lease),
  });
  if (!isStream) {
    const [answer] = await runChat(exchange, chat);
    if (answer === undefined) return;
    const message = {
      role: "assistant",
      content: answer.text,
      ...(answer.reasoning === "" ? {} : { thinking: answer.reasoning }),
      ...(answer.calls.length === 0 ? {} : { tool_calls: answer.calls.map(toolCall) }),
    };
    return exchange.sendJson({ ...line(message, answer.tokens), ...doneFields(answer.result, chat) });
  }
  const writer = exchange.openStream("ndjson");
  const send = (value: object) => writer.write(`${JSON.stringify(value)}\n`);
  const [answer] = await runChat(exchange, chat, async (_, event) => {
    const message =
      event.kind === "call"
        ? { role: "assistant", content: "", tool_calls: [toolCall(event)] }
        : event.kind === "text"
          ? { role: "assistant", content: event.text }
          : { role: "assistant", content: "", thinking: event.text };
    await send({ ...line(message, event.tokens), done: false });
  });
  if (answer === undefined) return;
  await send({ ...line({ role: "assistant", content: "" }), ...doneFields(answer.result, chat) });
  writer.end();
}

export async function ollamaGenerate(exchange: Exchange): Promise<void> {
  const { body, serving } = exchange;
  const model = body.requiredString("model");
  const prompt = body.string("prompt") ?? "";
  const isStream = body.boolean("stream") ?? true;
  const isRaw = body.boolean("raw") ?? false;
  const system = body.string("system");
  const { options, maxTokens } = readOptions(body);
  if (body.string("suffix")) throw invalid("suffix", "nothing: these models cannot fill in");
  if (body.string("template"))
    throw new ServeError("INVALID_INPUT", "template: templates are not taken from requests");
  refuseImages(body);
  const format = readOllamaFormat(body);
  const templateArguments = readThink(body);
  const context = body.list("context", 1_000_000);
  const keepAlive = readKeepAlive(body);
  if (prompt === "" && !isRaw) return sendLoaded(exchange, model, { response: "" });
  checkPromptSize(prompt.length + (system?.length ?? 0), serving.settings);
  const lease = await exchange.start(model);
  if (keepAlive !== undefined) lease.keepAlive(keepAlive);
  const screen = (text: string) => serving.security.input(exchange, text);
  const messages = [
    ...(system ? [{ role: "system", content: screen(system) }] : []),
    { role: "user", content: screen(prompt) },
  ];
  const encoded = isRaw
    ? { ids: await encodeText(exchange, lease, messages.at(-1)?.content ?? ""), text: "" }
    : await encodeMessages(exchange, lease, messages, { templateArguments });
  const fresh = encoded.ids;
  const ids =
    context === undefined || isRaw
      ? fresh
      : Int32Array.from([
          ...(await screenIds(exchange, lease, checkIds(context, lease.model.info.vocabSize))),
          ...fresh,
        ]);
  if (ids.length === 0) throw invalid("prompt", "a text that is not empty");
  checkRoom(lease.model, ids);
  const grammar =
    format === undefined ? {} : { form: format, grammar: await compileForm(exchange, lease, format) };
  const plan = {
    ...grammar,
    ids,
    options: { ...options, ...readLogprobs(body), maxTokens: maxTokensFor(maxTokens, serving.settings) },
  };
  await reserveFor(exchange, lease, [plan]);
  const thinking = isRaw ? "no" : thinkingOf(lease.model, encoded.text, format ?? null);
  const reader =
    thinking === "no" ? null : new AnswerReader({ tools: false, thinking, names: new Set<string>() });
  const line = (response: string, tokens: readonly TokenEntry[] = [], thoughts = "") => ({
    model,
    created_at: new Date().toISOString(),
    response,
    ...(thoughts === "" ? {} : { thinking: thoughts }),
    ...logprobsOf(tokens, lease),
  });
  const tokens: TokenEntry[] = [];
  const done = (result: GenerationResult) => ({
    ...doneFields(result, { lease }),
    ...(isRaw || serving.security.hidesTokens ? {} : { context: [...ids, ...result.ids] }),
  });
  if (!isStream) {
    const parts = { text: "", reasoning: "" };
    const take = (events: readonly AnswerEvent[]) => {
      for (const event of events) if (event.kind !== "call") parts[event.kind] += event.text;
    };
    const [result] = await generateAnswers(exchange, lease, [plan], (_, piece) => {
      take(reader?.push(piece.text) ?? [{ kind: "text", text: piece.text }]);
      tokens.push(...entriesOf(piece));
    });
    take(reader?.end() ?? []);
    if (result !== undefined)
      exchange.sendJson({ ...line(parts.text, tokens, parts.reasoning), ...done(result) });
    return;
  }
  const writer = exchange.openStream("ndjson");
  const send = async (events: readonly AnswerEvent[]) => {
    for (const event of events) {
      // Tokens come with the text that they end in.
      if (event.kind === "call" || event.text === "") continue;
      const own = tokens.splice(0);
      const each = event.kind === "text" ? line(event.text, own) : line("", own, event.text);
      await writer.write(`${JSON.stringify({ ...each, done: false })}\n`);
    }
  };
  const [result] = await generateAnswers(exchange, lease, [plan], (_, piece) => {
    tokens.push(...entriesOf(piece));
    return send(reader?.push(piece.text) ?? [{ kind: "text", text: piece.text }]);
  });
  await send(reader?.end() ?? []);
  if (result !== undefined) await writer.write(`${JSON.stringify({ ...line(""), ...done(result) })}\n`);
  writer.end();
}

function logprobsOf(tokens: readonly TokenEntry[], { model }: Lease): object {
  return tokens.length === 0 ? {} : { logprobs: describeTokens(tokens, model.tokenizer) };
}

function checkIds(list: readonly unknown[], vocabSize: number): Int32Array {
  const isId = (id: unknown) => Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < vocabSize;
  if (!list.every(isId)) throw invalid("context", `token ids from 0 to ${vocabSize - 1}`);
  return Int32Array.from(list as number[]);
}

/** An answer to a picture that nobody has looked at would be made up. */
function refuseImages(fields: Fields): void {
  if ((fields.list("images", 1024) ?? []).length > 0)
    throw invalid(fields.path("images"), "nothing: these models see no images");
}

/** A request without a prompt only loads the model, or lets go of it: for that, one that is not there need not be loaded. */
async function sendLoaded(exchange: Exchange, model: string, fields: object): Promise<void> {
  const keepAlive = readKeepAlive(exchange.body);
  const { models } = exchange.serving;
  const own = models.resolve(model);
  const isThere = models.list.some((each) => each.name === own && each.model !== null);
  if (keepAlive !== 0 || isThere) {
    const lease = await exchange.start(model);
    if (keepAlive !== undefined) lease.keepAlive(keepAlive);
  } else await exchange.countRequest();
  exchange.sendJson({
    model,
    created_at: new Date().toISOString(),
    ...fields,
    done: true,
    done_reason: keepAlive === 0 ? "unload" : "load",
  });
}

/** Their clients send arguments as objects, thoughts as `thinking`, and the name of the function that a result is from. */
function inOpenaiTerms(message: unknown): unknown {
  if (!isObject(message)) return message;
  const calls = message.tool_calls;
  const plain = {
    ...message,
    content: message.content ?? "",
    name: message.name ?? message.tool_name,
    reasoning_content: message.thinking,
  };
  if (!Array.isArray(calls)) return plain;
  return {
    ...plain,
    tool_calls: calls.map((call: unknown) => {
      if (!isObject(call) || !isObject(call.function)) return call;
      const given = call.function.arguments;
      return {
        id: call.id,
        function: {
          ...call.function,
          arguments: typeof given === "string" ? given : JSON.stringify(given ?? {}),
        },
      };
    }),
  };
}

function readThink(body: Fields): Record<string, unknown> | undefined {
  const think = body.raw("think");
  if (think === undefined) return undefined;
  if (typeof think !== "boolean" && typeof think !== "string")
    throw invalid("think", "true, false or a level");
  return { enable_thinking: think !== false };
}

function readOptions(body: Fields): { options: GenerateOptions; maxTokens: number | undefined } {
  const fields = body.object("options") ?? new Fields({}, "options");
  for (const name of ["mirostat", "tfs_z", "dry_multiplier", "xtc_probability"])
    if (![undefined, 0, 1].includes(fields.raw(name) as number | undefined))
      throw invalid(fields.path(name), "nothing: it is not supported here");
  const wanted = fields.integer("num_predict", { min: -2 });
  return {
    maxTokens: wanted === undefined ? undefined : wanted < 0 ? Number.MAX_SAFE_INTEGER : wanted,
    options: defined({
      temperature: fields.number("temperature", { min: 0, max: 100 }),
      topK: readTopK(fields),
      topP: positiveShare(fields, "top_p"),
      minP: fields.number("min_p", { min: 0, max: 1 }),
      typicalP: positiveShare(fields, "typical_p"),
      repeatPenalty: fields.number("repeat_penalty", { min: 0.01, max: 100 }),
      repeatLastN: fields.integer("repeat_last_n", { min: -1, max: 2 ** 31 }),
      presencePenalty: fields.number("presence_penalty", { min: -100, max: 100 }),
      frequencyPenalty: fields.number("frequency_penalty", { min: -100, max: 100 }),
      seed: readSeed(fields),
      stop: readStop(fields, "stop"),
    }),
  };
}

function toolCall(call: { name: string; arguments: string }): object {
  let parsed: unknown;
  try {
    parsed = JSON.parse(call.arguments);
  } catch {
    parsed = {};
  }
  return { function: { name: call.name, arguments: isObject(parsed) ? parsed : { value: parsed } } };
}

const nanoseconds = (ms: number) => Math.max(0, Math.round(ms * 1e6));

function doneFields(result: GenerationResult, { lease }: { lease: Lease } | PreparedChat): object {
  const { timings } = result;
  return {
    done: true,
    done_reason: result.stopReason === "length" || result.stopReason === "context" ? "length" : "stop",
    total_duration: nanoseconds(lease.loadMs + timings.queuedMs + timings.promptMs + timings.decodeMs),
    load_duration: nanoseconds(lease.loadMs),
    prompt_eval_count: result.promptTokens,
    prompt_eval_duration: nanoseconds(timings.promptMs),
    eval_count: result.ids.length,
    eval_duration: nanoseconds(timings.decodeMs),
  };
}
