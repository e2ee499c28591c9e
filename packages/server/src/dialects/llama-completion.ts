/** llama-server's own completion: a text or token ids in, text and timings out. */
import { encodePrompt, type GenerateOptions, type GenerationResult, type TokenPiece } from "bitnet.ts";
import { maxTokensFor } from "../chat-core.ts";
import { invalid } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { compileForm, generateAnswers, reserveFor } from "../generating.ts";
import { checkPromptSize, checkRoom } from "../prompts.ts";
import { screenParts } from "../security/screen-prompts.ts";
import { readFormat } from "./answer-format.ts";
import { readAnswerTokens, readSampling } from "./openai-options.ts";
import { promptTeller } from "./prompt-progress.ts";

export async function llamaCompletion(exchange: Exchange): Promise<void> {
  const { body, serving } = exchange;
  const prompt = body.raw("prompt") ?? "";
  const isStream = body.boolean("stream") ?? false;
  const tellsPrompt = body.boolean("return_progress") ?? false;
  const wanted = readAnswerTokens(body, "n_predict") ?? readAnswerTokens(body, "max_tokens");
  const options = readSampling(body);
  const nProbs = body.integer("n_probs", { min: 0, max: 20 }) ?? 0;
  const parts: unknown[] = Array.isArray(prompt) ? prompt : [prompt];
  if (
    !parts.every((part) => typeof part === "string" || (Number.isSafeInteger(part) && (part as number) >= 0))
  )
    throw invalid("prompt", "a text, token ids, or a mixture of both");
  checkPromptSize(
    parts.reduce<number>((sum, part) => sum + (typeof part === "string" ? part.length : 1), 0),
    serving.settings,
  );
  const lease = await exchange.start(body.string("model", 256));
  const { model } = lease;
  const { hidesTokens } = serving.security;
  const { tokenizer } = model;
  const texts = screenParts(exchange, model, parts as (string | number)[]);
  const beginsWithText = typeof texts[0] === "string";
  const bos = beginsWithText && tokenizer.addBos && tokenizer.bosId !== null ? [tokenizer.bosId] : [];
  const job = { kind: "segments", segments: [...bos, ...texts] } as const;
  const { ids } = await encodePrompt(model, job, exchange.signal);
  if (ids.length === 0) throw invalid("prompt", "a text that is not empty");
  checkRoom(model, ids);
  const maxTokens = maxTokensFor(wanted, serving.settings);
  const format = readFormat(body);
  const grammar =
    format === undefined ? {} : { form: format, grammar: await compileForm(exchange, lease, format) };
  const plan = {
    ...grammar,
    ids,
    options: { ...options, maxTokens, ...(nProbs > 0 ? { logprobs: nProbs } : {}) },
  };
  await reserveFor(exchange, lease, [plan]);
  const finish = (result: GenerationResult) => ({
    stop: true,
    stop_type: stopType(result),
    stopping_word: result.stopText ?? "",
    id_slot: 0,
    model: lease.name,
    tokens_predicted: result.ids.length,
    tokens_evaluated: result.promptTokens,
    tokens_cached: result.cachedTokens,
    truncated: false,
    generation_settings: { seed: result.seed, n_predict: maxTokens, ...settingsOf(options) },
    timings: timingsOf(result),
  });
  let text = "";
  if (!isStream) {
    const [result] = await generateAnswers(exchange, lease, [plan], (_, piece) => {
      text += piece.text;
    });
    if (result === undefined) return;
    const describe = (id: number, logprob: number) => ({
      id,
      token: tokenizer.decode([id]),
      bytes: Array.from(tokenizer.tokenBytes(id)),
      logprob,
    });
    exchange.sendJson({
      index: 0,
      content: text,
      tokens: hidesTokens ? [] : Array.from(result.ids),
      ...finish(result),
      ...(result.logprobs === undefined
        ? {}
        : {
            completion_probabilities: result.logprobs.map(({ id, logprob, top }) => ({
              ...describe(id, logprob),
              top_logprobs: top.map((best) => describe(best.id, best.logprob)),
            })),
          }),
    });
    return;
  }
  const writer = exchange.openStream("sse");
  const send = (value: object) => writer.write(`data: ${JSON.stringify(value)}\n\n`);
  const onPiece = async (_: number, piece: TokenPiece) => {
    if (piece.text !== "")
      await send({ index: 0, content: piece.text, tokens: hidesTokens ? [] : [piece.id], stop: false });
  };
  const onPrompt = promptTeller((_, fields) =>
    send({ index: 0, content: "", tokens: [], stop: false, ...fields }),
  );
  const [result] = await generateAnswers(
    exchange,
    lease,
    [plan],
    onPiece,
    tellsPrompt ? onPrompt : undefined,
  );
  if (result !== undefined) await send({ index: 0, content: "", tokens: [], ...finish(result) });
  writer.end();
}

function settingsOf(options: GenerateOptions) {
  const { temperature, topK, topP, minP, dryMultiplier, xtcProbability, xtcThreshold } = options;
  return {
    temperature: temperature ?? 0.7,
    top_k: topK ?? 0,
    top_p: topP ?? 0.9,
    min_p: minP ?? 0,
    dry_multiplier: dryMultiplier ?? 0,
    xtc_probability: xtcProbability ?? 0,
    xtc_threshold: xtcThreshold ?? 0.1,
  };
}

function stopType({ stopReason, stopText }: GenerationResult): string {
  if (stopText !== undefined) return "word";
  return stopReason === "length" || stopReason === "context" ? "limit" : "eos";
}

function timingsOf({ promptTokens, cachedTokens, ids, timings }: GenerationResult): object {
  const nComputed = promptTokens - cachedTokens;
  return {
    cache_n: cachedTokens,
    prompt_n: nComputed,
    prompt_ms: timings.promptMs,
    prompt_per_token_ms: nComputed > 0 ? timings.promptMs / nComputed : 0,
    prompt_per_second: timings.promptTokensPerSecond,
    predicted_n: ids.length,
    predicted_ms: timings.decodeMs,
    predicted_per_token_ms: ids.length > 0 ? timings.decodeMs / ids.length : 0,
    predicted_per_second: timings.decodeTokensPerSecond,
  };
}
