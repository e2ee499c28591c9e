/** What a generation is reported as: the JSON object of `run`, and the one-line summary for people. */
import type { BitNet, GenerationResult, ModelInfo } from "bitnet.ts";
import { formatMs, formatRate, plural } from "./format.ts";

/** The object that `run --json` prints: the library's result, and of its `info` what ran it. */
type RunResult = GenerationResult & Pick<ModelInfo, "source" | "backend" | "isa" | "threads" | "loadMs">;

export function resultObject(model: BitNet, result: GenerationResult): RunResult {
  const { source, backend, isa, threads, loadMs } = model.info;
  return { source, backend, isa, threads, loadMs, ...result };
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
