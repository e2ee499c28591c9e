/** llama-server's `return_progress`: chunks that say how far a long prompt has been read, before the first token comes. */
import type { PromptProgress } from "bitnet.ts";

/** @param send Writes a chunk with these fields. What becomes of it is seen when the next piece is written. */
export function promptTeller(
  send: (index: number, fields: { prompt_progress: object }) => Promise<void>,
): (index: number, progress: PromptProgress) => void {
  const start = performance.now();
  return (index, { read, cached, total }) => {
    const time_ms = Math.round(performance.now() - start);
    send(index, { prompt_progress: { total, cache: cached, processed: read, time_ms } }).catch(() => {});
  };
}
