/** What a generation is reported as: the JSON object of `run`, and the one-line summary for people. */
import type { BitNet, GenerationResult } from "bitnet.ts";
import { formatMs, formatRate, plural } from "./format.ts";

/** The object that `run --json` prints. */
interface RunResult {
  /** Path or URL. */
  model: string;
  backend: string;
  isa: string;
  threads: number;
  /** Begins with the beginning-of-text token when the model wants it. */
  promptIds: number[];
  /** The generated tokens without the one that ended the generation. */
  ids: number[];
  text: string;
  stopReason: string;
  /** With --logprobs: one per generated token, the best ones as [id, logprob]. */
  logprobs?: GenerationResult["logprobs"];
  /** With --prompt-logprobs: of each prompt token given those before it. */
  promptLogprobs?: (number | null)[];
  timings: {
    loadMs: number;
    promptTokensPerSecond: number;
    firstTokenMs: number;
    decodeTokensPerSecond: number;
  };
  seed: number;
}

export function resultObject(model: BitNet, promptIds: Int32Array, result: GenerationResult): RunResult {
  const { info } = model;
  const { promptTokensPerSecond, firstTokenMs, decodeTokensPerSecond } = result.timings;
  return {
    model: info.source,
    backend: info.backend,
    isa: info.isa,
    threads: info.threads,
    promptIds: Array.from(promptIds),
    ids: Array.from(result.ids),
    text: result.text,
    stopReason: result.stopReason,
    ...(result.logprobs === undefined ? {} : { logprobs: result.logprobs }),
    ...(result.promptLogprobs === undefined
      ? {}
      : { promptLogprobs: result.promptLogprobs.map((entry) => entry?.logprob ?? null) }),
    timings: { loadMs: info.loadMs, promptTokensPerSecond, firstTokenMs, decodeTokensPerSecond },
    seed: result.seed,
  };
}

/** `6 prompt tokens at 812 tok/s, first token after 9 ms, 40 tokens at 95.2 tok/s, stopped by length` */
export function resultLine({
  promptTokens,
  cachedTokens,
  ids,
  timings,
  stopReason,
}: GenerationResult): string {
  const prompt = `${plural(promptTokens, "prompt token")}${cachedTokens > 0 ? ` (${cachedTokens} reused)` : ""}`;
  const parts = [
    timings.promptTokensPerSecond > 0 ? `${prompt} at ${formatRate(timings.promptTokensPerSecond)}` : prompt,
  ];
  if (timings.firstTokenMs > 0) parts.push(`first token after ${formatMs(timings.firstTokenMs)}`);
  const rate = timings.decodeTokensPerSecond;
  parts.push(
    rate > 0 ? `${plural(ids.length, "token")} at ${formatRate(rate)}` : plural(ids.length, "token"),
  );
  parts.push(`stopped by ${stopReason}`);
  return parts.join(", ");
}
