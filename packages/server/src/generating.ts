/**
 * Runs the answers of one request side by side and hands on their pieces as they come. Whatever ends one ends all.
 */
import type { Grammar, GrammarSpec } from "@bitnet.ts/grammar";
import type { GenerateOptions, Generation, GenerationResult, PromptProgress, TokenPiece } from "bitnet.ts";
import type { AnswerPlan } from "./answer-plan.ts";
import { ServeError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import type { KeptAnswer } from "./kept-answer.ts";
import type { Lease } from "./models.ts";
import { prefixKey } from "./prefix-key.ts";

/** The grammar of a form; a request that has ended does not wait for it. */
export function compileForm(exchange: Exchange, lease: Lease, spec: GrammarSpec): Promise<Grammar> {
  const { signal, client } = exchange;
  return exchange.whileOpen(lease.grammars.compile(spec, { salt: client.tenant, signal }));
}

/** Answers of the cache, by the plan that they are for, and keys for those that are not there yet. */
const found = new WeakMap<AnswerPlan, KeptAnswer>();
const keys = new WeakMap<AnswerPlan, string>();

/** Looks for kept answers, and reserves what the others may take at most. */
export async function reserveFor(
  exchange: Exchange,
  lease: Lease,
  plans: readonly AnswerPlan[],
): Promise<void> {
  const { cache } = exchange.serving;
  const request = {
    tenant: exchange.client.tenant,
    identity: lease.identity,
    cacheControl: exchange.request.headers["cache-control"],
  };
  const showsTokens = plans.some(({ options }) => (options.logprobs ?? options.promptLogprobs) !== undefined);
  if (showsTokens && exchange.serving.security.hidesTokens)
    throw new ServeError("INVALID_INPUT", "logprobs: not supported while answers are filtered", {
      param: "logprobs",
    });
  let nTokens = 0;
  for (const plan of plans) {
    const key = cache.keyOf(request, plan);
    const kept = key === null ? undefined : await cache.find(key, request.tenant);
    if (key !== null) keys.set(plan, key);
    if (kept !== undefined) found.set(plan, kept);
    else nTokens += plan.ids.length + (plan.options.maxTokens ?? 0);
  }
  if (plans.every((plan) => keys.has(plan)))
    exchange.reply.header("x-bitnet-cache", plans.every((plan) => found.has(plan)) ? "hit" : "miss");
  const [first] = plans;
  if (first !== undefined)
    exchange.reply.header("x-prefix-key", prefixKey(exchange.client.tenant, lease.name, first.ids));
  await exchange.reserveTokens(nTokens);
}

/**
 * @param onPiece Of the answer number `index`; what it returns is waited for before the next piece of that answer.
 * @param onPrompt Told how far the prompt of the answer number `index` has been read; never for kept answers.
 */
export async function generateAnswers(
  exchange: Exchange,
  lease: Lease,
  plans: readonly AnswerPlan[],
  onPiece: (index: number, piece: TokenPiece) => Promise<void> | void,
  onPrompt?: (index: number, progress: PromptProgress) => void,
): Promise<GenerationResult[]> {
  exchange.throwIfAborted();
  const controller = new AbortController();
  const stop = () => controller.abort();
  exchange.signal.addEventListener("abort", stop, { once: true });
  const { signal } = controller;
  const cacheSalt = exchange.client.tenant;
  const counts: Promise<void>[] = [];
  try {
    const background = exchange.client.background !== undefined;
    const generations = plans.map((plan, index) => {
      if (found.has(plan)) return null;
      const told =
        onPrompt === undefined ? {} : { onPrompt: (progress: PromptProgress) => onPrompt(index, progress) };
      return begin(lease, plan, { cacheSalt, signal, background, ...told });
    });
    for (const generation of generations) if (generation !== null) counts.push(count(exchange, generation));
    const results = await Promise.all(
      generations.map(async (generation, index) => {
        const plan = plans[index];
        const kept = plan === undefined ? undefined : found.get(plan);
        if (generation === null || kept !== undefined)
          return replay(exchange, kept, (piece) => onPiece(index, piece));
        const pieces: TokenPiece[] = [];
        const key = plan === undefined ? undefined : keys.get(plan);
        const isBackground = exchange.client.background !== undefined;
        const followed = exchange.serving.watching.activity.follow(lease.name, isBackground);
        try {
          await readScreened(exchange, recorded(generation, pieces, key), (piece, isToken) => {
            if (isToken) followed.token();
            return onPiece(index, piece);
          });
        } finally {
          const result = await generation.result.catch(() => null);
          if (result !== null) exchange.answers.push(followed.end(result, exchange.queuedMs));
        }
        const result = await generation.result;
        // An answer that was cut off is nobody else's.
        if (key !== undefined && result.stopReason !== "abort")
          exchange.serving.cache.keep(key, { pieces, result }, exchange.client.tenant);
        return result;
      }),
    );
    exchange.throwIfAborted();
    return results;
  } finally {
    controller.abort();
    exchange.signal.removeEventListener("abort", stop);
    // Those that had to end because another one failed have taken tokens as well.
    await Promise.all(counts);
  }
}

function begin(
  { model, adapter }: Lease,
  { ids, options, grammar }: AnswerPlan,
  shared: GenerateOptions,
): Generation {
  const mask = grammar?.createMask();
  const own = { ...(adapter === undefined ? {} : { adapter }), ...(mask === undefined ? {} : { mask }) };
  try {
    return model.generate(ids, { ...options, ...shared, ...own });
  } catch (error) {
    // Its thread would wait for it for ever.
    mask?.dispose();
    throw error;
  }
}

/** Reads an answer through the content filter; what it held back at the end comes as a piece that is no token. */
async function readScreened(
  exchange: Exchange,
  pieces: AsyncIterable<TokenPiece>,
  onPiece: (piece: TokenPiece, isToken: boolean) => Promise<void> | void,
): Promise<void> {
  const screen = exchange.serving.security.output(exchange);
  let last: TokenPiece | null = null;
  for await (const piece of pieces) {
    last = piece;
    await onPiece(screen === null ? piece : { ...piece, text: screen.push(piece.text) }, true);
  }
  const rest = screen?.end() ?? "";
  if (rest !== "" && last !== null) await onPiece({ id: last.id, text: rest }, false);
}

/** The same pieces, remembered where the answer is going to be kept: as they are before any filter. */
async function* recorded(
  generation: Generation,
  pieces: TokenPiece[],
  key: string | undefined,
): AsyncIterable<TokenPiece> {
  for await (const piece of generation) {
    if (key !== undefined) pieces.push(piece);
    yield piece;
  }
}

/** A kept answer, as if it came anew. */
async function replay(
  exchange: Exchange,
  kept: KeptAnswer | undefined,
  onPiece: (piece: TokenPiece) => Promise<void> | void,
): Promise<GenerationResult> {
  if (kept === undefined) throw new ServeError("GENERATION_ERROR", "internal error");
  async function* pieces(): AsyncIterable<TokenPiece> {
    for (const piece of kept?.pieces ?? []) {
      exchange.throwIfAborted();
      yield piece;
    }
  }
  await readScreened(exchange, pieces(), onPiece);
  const { result } = kept;
  const timings = { ...result.timings, queuedMs: 0, promptMs: 0, firstTokenMs: 0, decodeMs: 0 };
  return { ...result, cachedTokens: result.promptTokens, timings };
}

async function count(exchange: Exchange, generation: Generation): Promise<void> {
  const result = await generation.result.catch(() => null);
  if (result !== null) exchange.countTokens(result.promptTokens, result.ids.length);
}
