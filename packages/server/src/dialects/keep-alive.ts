/** Ollama's `keep_alive`: how long a model stays loaded when nobody uses it. */
import { invalid } from "../errors.ts";
import type { Fields } from "../fields.ts";

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Seconds, or a duration such as "5m" or "1h30m"; below zero: null, for ever. Undefined where nothing is said. */
export function readKeepAlive(body: Fields): number | null | undefined {
  const value = body.raw("keep_alive");
  if (value === undefined || value === "") return undefined;
  const ms =
    typeof value === "number" ? value * 1000 : typeof value === "string" ? durationMs(value) : Number.NaN;
  if (Number.isNaN(ms)) throw invalid(body.path("keep_alive"), 'seconds, or a duration such as "5m"');
  return ms < 0 ? null : Math.min(ms, Number.MAX_SAFE_INTEGER);
}

function durationMs(text: string): number {
  if (/^-?\d{1,15}$/.test(text)) return Number(text) * 1000;
  const isNegative = text.startsWith("-");
  const parts = /^-?((?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h))+)$/.exec(text)?.[1];
  if (parts === undefined) return Number.NaN;
  let sum = 0;
  for (const [, amount, unit = ""] of parts.matchAll(/([\d.]+)(ms|s|m|h)/g))
    sum += Number(amount) * (unitMs[unit] ?? 0);
  return isNegative ? -sum : sum;
}
