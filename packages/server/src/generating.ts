/**
 * Runs the answers of one request side by side and hands on their pieces as they come. Whatever ends one ends all.
 */
import type { Grammar, GrammarSpec } from "@bitnet.ts/grammar";
import type { GenerateOptions, Generation, GenerationResult, TokenPiece } from "bitnet.ts";
import { ServeError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import type { Lease } from "./models.ts";
import { prefixKey } from "./prefix-key.ts";

export interface AnswerPlan {
  readonly ids: Int32Array;
  readonly options: GenerateOptions;
  /** What the answer must look like. */
  readonly grammar?: Grammar;
}

/** The grammar of a form; a request that has ended does not wait for it. */
export function compileForm(exchange: Exchange, lease: Lease, spec: GrammarSpec): Promise<Grammar> {
  return exchange.whileOpen(lease.grammars.compile(spec));
}

/** Reserves what the answers may take at most. */
export async function reserveFor(exchange: Exchange, plans: readonly AnswerPlan[]): Promise<void> {
  const showsTokens = plans.some(({ options }) => (options.logprobs ?? options.promptLogprobs) !== undefined);
  if (showsTokens && exchange.serving.security.hidesTokens)
    throw new ServeError("INVALID_INPUT", "logprobs: not supported while answers are filtered", {
      param: "logprobs",
    });
  let nTokens = 0;
  for (const { ids, options } of plans) nTokens += ids.length + (options.maxTokens ?? 0);
  const [first] = plans;
  const model = exchange.serving.models.resolve(exchange.modelName);
  if (first !== undefined)
    exchange.reply.header("x-prefix-key", prefixKey(exchange.client.tenant, model, first.ids));
  await exchange.reserveTokens(nTokens);
}

/** @param onPiece Of the answer number `index`; what it returns is waited for before the next piece of that answer. */
export async function generateAnswers(
  exchange: Exchange,
  lease: Lease,
  plans: readonly AnswerPlan[],
  onPiece: (index: number, piece: TokenPiece) => Promise<void> | void,
): Promise<GenerationResult[]> {
  exchange.throwIfAborted();
  const controller = new AbortController();
  const stop = () => controller.abort();
  exchange.signal.addEventListener("abort", stop, { once: true });
  const { signal } = controller;
  const cacheSalt = exchange.client.tenant;
  try {
    const generations = plans.map((plan) => begin(lease, plan, { cacheSalt, signal }));
    const results = await Promise.all(
      generations.map(async (generation, index) => {
        const isBackground = exchange.client.background !== undefined;
        const followed = exchange.serving.watching.activity.follow(lease.name, isBackground);
        try {
          await readScreened(exchange, generation, (piece, isToken) => {
            if (isToken) followed.token();
            return onPiece(index, piece);
          });
        } finally {
          const result = await generation.result.catch(() => null);
          if (result !== null) {
            exchange.countTokens(result.promptTokens, result.ids.length);
            followed.end(result, exchange.queuedMs);
          }
        }
        return generation.result;
      }),
    );
    exchange.throwIfAborted();
    return results;
  } finally {
    controller.abort();
    exchange.signal.removeEventListener("abort", stop);
  }
}

function begin({ model }: Lease, { ids, options, grammar }: AnswerPlan, shared: GenerateOptions): Generation {
  const mask = grammar?.createMask();
  try {
    return model.generate(ids, { ...options, ...shared, ...(mask === undefined ? {} : { mask }) });
  } catch (error) {
    // Its thread would wait for it for ever.
    mask?.dispose();
    throw error;
  }
}

/** Reads an answer through the content filter; what it held back at the end comes as a piece that is no token. */
async function readScreened(
  exchange: Exchange,
  generation: Generation,
  onPiece: (piece: TokenPiece, isToken: boolean) => Promise<void> | void,
): Promise<void> {
  const screen = exchange.serving.security.output(exchange);
  let last: TokenPiece | null = null;
  for await (const piece of generation) {
    last = piece;
    await onPiece(screen === null ? piece : { ...piece, text: screen.push(piece.text) }, true);
  }
  const rest = screen?.end() ?? "";
  if (rest !== "" && last !== null) await onPiece({ id: last.id, text: rest }, false);
}
