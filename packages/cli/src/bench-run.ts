/**
 * One measured generation, and several of them at once. Greedy, over prompts of their own, so that nothing comes from the cache
 * of an earlier run. Knows nothing of flags or of what is printed.
 */
import { getMaxListeners, setMaxListeners } from "node:events";
import { BitNetError, throwIfAborted } from "@bitnet.ts/core";
import { openEnergyMeter } from "@bitnet.ts/core/node";
import type { BitNet, SamplingOptions } from "bitnet.ts";
import { RandomBits } from "./random-bits.ts";

export interface RunSettings {
  nPrompt: number;
  nGen: number;
  seed: number;
  /** Default: greedy. */
  sampling?: SamplingOptions;
  signal?: AbortSignal;
}

export interface RunSample {
  promptTokensPerSecond: number;
  decodeTokensPerSecond: number;
  firstTokenMs: number;
  /** Of the whole machine while it decodes; null where it has no counters. */
  joulesPerToken: number | null;
}

/** @param run Number of the run: another one, another prompt. */
export async function runOnce(
  model: BitNet,
  { nPrompt, nGen, seed, sampling, signal }: RunSettings,
  run: number,
): Promise<RunSample> {
  const prompt = randomPrompt(model, nPrompt, new RandomBits(seed, run));
  const meter = openEnergyMeter();
  let joulesBefore = 0;
  // The first token comes out of the prompt: one more makes as many decode steps as were asked for, where the context allows.
  const maxTokens = Math.min(nGen + 1, model.info.contextLength - nPrompt);
  const generation = model.generate(prompt, { ...greedy(maxTokens, signal), ...sampling });
  if (meter !== null) {
    let isFirst = true;
    for await (const _ of generation) {
      if (isFirst) joulesBefore = meter.joules();
      isFirst = false;
    }
  }
  const { timings } = await generation.result;
  throwIfAborted(signal);
  const { promptTokensPerSecond, decodeTokensPerSecond, firstTokenMs } = timings;
  const joules = meter === null ? null : meter.joules() - joulesBefore;
  const joulesPerToken = joules === null || maxTokens < 2 ? null : joules / (maxTokens - 1);
  return { promptTokensPerSecond, decodeTokensPerSecond, firstTokenMs, joulesPerToken };
}

export interface BatchSample {
  /** Of all sequences together, from when the last one has begun until the first one ends. */
  tokensPerSecond: number;
  /** Between two tokens of one sequence. */
  tokenMs: number;
}

/**
 * Decodes `nSequences` texts together.
 * @throws BitNetError INVALID_ARGUMENT when some end before all have begun.
 */
export async function runBatch(
  model: BitNet,
  { nPrompt, nGen, seed, signal }: RunSettings,
  nSequences: number,
  run: number,
): Promise<BatchSample> {
  // Each text listens to it.
  if (signal !== undefined) setMaxListeners(nSequences + getMaxListeners(signal), signal);
  const random = new RandomBits(seed, run);
  const prompts = Array.from({ length: nSequences }, () => randomPrompt(model, nPrompt, random));
  let nBegun = 0;
  const marks: { from?: Mark; to?: Mark } = {};
  const follow = async (prompt: Int32Array) => {
    let nTokens = 0;
    for await (const _ of model.generate(prompt, greedy(nGen + 1, signal))) {
      if (nTokens++ === 0 && ++nBegun === nSequences) marks.from = markOf(model);
    }
    marks.to ??= markOf(model);
  };
  await Promise.all(prompts.map(follow));
  throwIfAborted(signal);
  const { from, to } = marks;
  const rows = (to?.rows ?? 0) - (from?.rows ?? 0);
  const ms = (to?.time ?? 0) - (from?.time ?? 0);
  if (from === undefined || rows <= 0 || ms <= 0) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `bench: the first of ${nSequences} texts ended before the last one had begun; generate more than ${nGen} tokens`,
    );
  }
  return { tokensPerSecond: (1000 * rows) / ms, tokenMs: (ms * nSequences) / rows };
}

interface Mark {
  time: number;
  /** All rows that the model has computed until then: one for every decoded token. */
  rows: number;
}

function markOf(model: BitNet): Mark {
  return { time: performance.now(), rows: model.stats().rowsComputed };
}

function greedy(maxTokens: number, signal: AbortSignal | undefined) {
  return {
    maxTokens,
    temperature: 0,
    repeatPenalty: 1,
    ignoreEos: true,
    ...(signal === undefined ? {} : { signal }),
  };
}

/** Ordinary tokens only; control tokens are few and might mean something. */
export function randomPrompt({ tokenizer }: BitNet, length: number, random: RandomBits): Int32Array {
  const ids = new Int32Array(length);
  for (let i = 0; i < length; ) {
    const id = Math.floor(random.next() * tokenizer.vocabSize);
    if (!tokenizer.isSpecial(id)) ids[i++] = id;
  }
  return ids;
}
