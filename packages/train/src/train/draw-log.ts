/** A run's loss as lines of text, for a terminal: a picture of the log, redrawn as it grows. Knows nothing but the log. */
import type { LogEntry } from "./log.ts";

const bars = " ▁▂▃▄▅▆▇█";

/**
 * The loss over the run, a column for each stretch of steps, on a logarithmic scale; under it the last figures.
 * @param columns Width of the terminal. @param rows Height of the picture.
 */
export function drawLog(entries: readonly LogEntry[], columns: number, rows: number): string[] {
  const steps = entries.filter((entry) => entry.kind === "step").filter(({ loss }) => loss > 0);
  const last = steps.at(-1);
  if (last === undefined) return ["no step has been made yet"];
  const evaluation = entries.filter((entry) => entry.kind === "evaluation").at(-1);
  const labelWidth = 8;
  const width = Math.max(1, Math.min(steps.length, columns - labelWidth - 1));
  const means = Array.from({ length: width }, (_, i) => {
    const part = steps.slice(
      Math.floor((i * steps.length) / width),
      Math.max(Math.floor(((i + 1) * steps.length) / width), Math.floor((i * steps.length) / width) + 1),
    );
    return part.reduce((sum, { loss }) => sum + loss, 0) / part.length;
  });
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const range = Math.max(1e-9, Math.log(high / low));
  const heights = means.map((mean) => Math.round(1 + (Math.log(mean / low) / range) * (8 * rows - 1)));
  const lines = Array.from({ length: rows }, (_, row) => {
    const floor = 8 * (rows - 1 - row);
    const label = row === 0 ? high.toFixed(3) : row === rows - 1 ? low.toFixed(3) : "";
    const cells = heights.map((height) => bars[Math.max(0, Math.min(8, height - floor))]);
    return `${label.padStart(labelWidth - 1)} ${cells.join("")}`;
  });
  const evaluated =
    evaluation === undefined ? "" : `, evaluation ${evaluation.loss.toFixed(4)} at step ${evaluation.step}`;
  return [
    ...lines,
    `step ${last.step}: loss ${last.loss.toFixed(4)}${evaluated}, rate ${last.rate.toExponential(2)}, ${last.tokensPerSecond} tok/s`,
  ];
}
