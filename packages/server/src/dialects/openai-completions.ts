/**
 * OpenAI's completions: texts or token ids to go on with, one or many, with `n`, `echo` and `logprobs` as evaluation tools use them.
 */
import { randomUUID } from "node:crypto";
import type { GenerationResult, Tokenizer, TokenLogprob } from "bitnet.ts";
import type { AnswerPlan } from "../answer-plan.ts";
import { maxTokensFor } from "../chat-core.ts";
import { invalid, ServeError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import type { Fields } from "../fields.ts";
import { compileForm, generateAnswers, reserveFor } from "../generating.ts";
import type { Lease } from "../models.ts";
import { checkPromptSize, encodeText } from "../prompts.ts";
import { screenIds } from "../security/screen-prompts.ts";
import { readFormat } from "./answer-format.ts";
import { readStreamWish } from "./openai-chat.ts";
import { readAnswerTokens, readSampling } from "./openai-options.ts";
import { fingerprint, usageOf } from "./openai-usage.ts";

type Prompt = string | readonly number[];

interface CompletionRequest {
  model: string | undefined;
  prompts: readonly Prompt[];
  n: number;
  maxTokens: number | undefined;
  echo: boolean;
  logprobs: number | undefined;
  suffix: string | undefined;
}

export async function completions(exchange: Exchange): Promise<void> {
  const { body, serving } = exchange;
  const request = readCompletion(body);
  const options = readSampling(body);
  const wish = readStreamWish(body);
  if (request.suffix) throw invalid("suffix", "nothing: these models cannot fill in");
  if (request.prompts.length * request.n > serving.settings.maxAnswers)
    throw invalid("n", `at most ${serving.settings.maxAnswers} answers, prompts times n`);
  checkPromptSize(
    request.prompts.reduce((sum, prompt) => sum + prompt.length, 0),
    serving.settings,
  );
  const lease = await exchange.start(request.model);
  const { model } = lease;
  const prompts: Int32Array[] = [];
  for (const [index, prompt] of request.prompts.entries())
    prompts.push(await encodePrompt(exchange, lease, prompt, index));
  const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const format = readFormat(body);
  const grammar =
    format === undefined ? {} : { form: format, grammar: await compileForm(exchange, lease, format) };
  const plans: AnswerPlan[] = prompts.flatMap((ids) =>
    Array.from({ length: request.n }, (_, choice) => ({
      ids,
      ...grammar,
      hasSeed: options.seed !== undefined,
      options: {
        ...options,
        seed,
        choice,
        maxTokens: maxTokensFor(request.maxTokens, serving.settings),
        ...(request.logprobs === undefined ? {} : { logprobs: request.logprobs }),
        ...(request.logprobs !== undefined && request.echo ? { promptLogprobs: request.logprobs } : {}),
      },
    })),
  );
  await reserveFor(exchange, lease, plans);
  const head = {
    id: `cmpl-${randomUUID()}`,
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: request.model ?? lease.name,
    system_fingerprint: fingerprint(serving),
  };
  const echoed = (index: number) =>
    request.echo
      ? model.tokenizer.decode(prompts[Math.floor(index / request.n)] ?? [], { special: false })
      : "";
  if (wish.stream) {
    const writer = exchange.openStream("sse");
    const send = (fields: object) => writer.write(`data: ${JSON.stringify({ ...head, ...fields })}\n\n`);
    const choice = (
      index: number,
      text: string,
      finish_reason: string | null,
      logprobs: object | null = null,
    ) => ({
      choices: [{ index, text, logprobs, finish_reason }],
      ...(wish.includeUsage ? { usage: null } : {}),
    });
    if (request.echo) for (const index of plans.keys()) await send(choice(index, echoed(index), null));
    const held = plans.map(() => [] as TokenLogprob[]);
    const offsets = plans.map(() => 0);
    const results = await generateAnswers(exchange, lease, plans, async (index, piece) => {
      const { id, text, logprob, top = [] } = piece;
      if (logprob !== undefined) held[index]?.push({ id, text, logprob, top });
      if (text === "") return;
      // Tokens come with the text that they end in.
      const entries = (held[index]?.splice(0) ?? []).map((report) => ({ id: report.id, report }));
      const { described, length } = describeEntries(model.tokenizer, entries, offsets[index] ?? 0);
      offsets[index] = length;
      await send(choice(index, text, null, request.logprobs === undefined ? null : described));
    });
    for (const [index, result] of results.entries()) await send(choice(index, "", finishOf(result)));
    if (wish.includeUsage) await send({ choices: [], usage: usageOf(results, prompts.length) });
    writer.end("data: [DONE]\n\n");
    return;
  }
  const texts = plans.map((_, index) => echoed(index));
  const results = await generateAnswers(exchange, lease, plans, (index, { text }) => {
    texts[index] += text;
  });
  exchange.sendJson({
    ...head,
    choices: results.map((result, index) => ({
      index,
      text: texts[index],
      logprobs:
        request.logprobs === undefined
          ? null
          : logprobsOf(model.tokenizer, result, request, prompts[Math.floor(index / request.n)]),
      finish_reason: finishOf(result),
    })),
    usage: usageOf(results, prompts.length),
  });
}

function finishOf({ stopReason }: GenerationResult): string {
  return stopReason === "length" || stopReason === "context" ? "length" : "stop";
}

function readCompletion(body: Fields): CompletionRequest {
  const logprobs = body.integer("logprobs", { min: 0, max: 5 });
  const echo = body.boolean("echo") ?? false;
  if (echo && logprobs !== undefined && body.boolean("stream") === true)
    throw invalid("logprobs", "no stream beside it, where the prompt is echoed");
  const n = body.integer("n", { min: 1, max: 128 }) ?? 1;
  const bestOf = body.integer("best_of", { min: 1, max: 128 });
  if (bestOf !== undefined && bestOf !== n) throw invalid("best_of", "the same number as n");
  return {
    model: body.string("model", 256),
    prompts: readPrompts(body),
    n,
    maxTokens: readAnswerTokens(body, "max_tokens") ?? 16,
    echo,
    logprobs,
    suffix: body.string("suffix"),
  };
}

function readPrompts(body: Fields): Prompt[] {
  const value = body.raw("prompt") ?? "";
  const isIds = (list: unknown): list is number[] =>
    Array.isArray(list) && list.length > 0 && list.every((id) => Number.isSafeInteger(id));
  if (typeof value === "string") return [value];
  if (isIds(value)) return [value];
  const isList = Array.isArray(value) && value.length > 0;
  if (isList && value.every((each) => typeof each === "string" || isIds(each))) return value as Prompt[];
  throw invalid("prompt", "a text, token ids, or a list of these");
}

async function encodePrompt(
  exchange: Exchange,
  lease: Lease,
  prompt: Prompt,
  index: number,
): Promise<Int32Array> {
  const { vocabSize, contextLength } = lease.model.info;
  const wrong = typeof prompt === "string" ? undefined : prompt.find((id) => id < 0 || id >= vocabSize);
  if (wrong !== undefined)
    throw invalid("prompt", `token ids from 0 to ${vocabSize - 1}; prompt ${index} has ${wrong}`);
  const ids =
    typeof prompt === "string"
      ? await encodeText(exchange, lease, exchange.serving.security.input(exchange, prompt))
      : await screenIds(exchange, lease, Int32Array.from(prompt));
  if (ids.length === 0) throw invalid("prompt", "a text that is not empty");
  if (ids.length > contextLength)
    throw new ServeError(
      "CONTEXT_EXCEEDED",
      `this model's maximum context length is ${contextLength} tokens, but prompt ${index} has ${ids.length} tokens`,
      { param: "prompt" },
    );
  return ids;
}

/** Tokens that are no text of their own are spelled as bytes, so that different ones have different keys. */
function tokenKey(tokenizer: Tokenizer, id: number): string {
  const text = tokenizer.decode([id]);
  if (!text.includes("\ufffd")) return text;
  const bytes = Array.from(tokenizer.tokenBytes(id), (byte) => `\\x${byte.toString(16).padStart(2, "0")}`);
  return `bytes:${bytes.join("")}`;
}

/** Lists of one entry per token; with `echo` those of the prompt first, of which the very first has no probability. */
function logprobsOf(
  tokenizer: Tokenizer,
  result: GenerationResult,
  request: CompletionRequest,
  prompt: Int32Array | undefined,
): object {
  const entries: Entry[] = [];
  if (request.echo)
    for (const [at, report] of (result.promptLogprobs ?? []).entries())
      entries.push({ id: prompt?.[at] ?? 0, report });
  for (const report of result.logprobs ?? []) entries.push({ id: report.id, report });
  return describeEntries(tokenizer, entries, 0).described;
}

interface Entry {
  readonly id: number;
  /** Null for the very first token of a prompt. */
  readonly report: TokenLogprob | null;
}

/** The entries, of which the first stands at `offset` of the text, and where the next one will stand. */
function describeEntries(
  tokenizer: Tokenizer,
  entries: readonly Entry[],
  offset: number,
): { described: object; length: number } {
  const tokens = entries.map(({ id }) => tokenKey(tokenizer, id));
  const offsets: number[] = [];
  let length = offset;
  for (const { id } of entries) {
    offsets.push(length);
    length += tokenizer.decode([id], { special: false }).length;
  }
  const described = {
    tokens,
    token_logprobs: entries.map(({ report }) => report?.logprob ?? null),
    top_logprobs: entries.map(({ report }) => (report === null ? null : topOf(tokenizer, report))),
    text_offset: offsets,
  };
  return { described, length };
}

/** The best tokens, and the token itself where it is not among them. */
function topOf(tokenizer: Tokenizer, { id, logprob, top }: TokenLogprob): Record<string, number> {
  const entries = top.map((best) => [tokenKey(tokenizer, best.id), best.logprob] as const);
  if (!top.some((best) => best.id === id)) entries.push([tokenKey(tokenizer, id), logprob]);
  return Object.fromEntries(entries);
}
