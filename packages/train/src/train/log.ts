/** The log of a run: one JSON object a line. Lines after the step that a run resumes at are cut off, as if they had never been. */
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

export type LogEntry =
  | {
      kind: "step";
      step: number;
      /** Mean −log p per counted token of the step's batch. */
      loss: number;
      /** Predictions made so far. */
      tokens: number;
      rate: number;
      weightDecay: number;
      gradientNorm: number;
      /** Since this process began; the two numbers that differ from run to run. */
      seconds: number;
      tokensPerSecond: number;
    }
  | { kind: "evaluation"; step: number; loss: number; tokens: number }
  | { kind: "checkpoint"; step: number };

export class TrainingLog {
  readonly #path: string;

  /** Keeps the entries up to `resumedAt`. */
  constructor(path: string, resumedAt: number) {
    this.#path = path;
    const kept = readLog(path).filter(({ step }) => step <= resumedAt);
    const text = kept.map((entry) => `${JSON.stringify(entry)}\n`).join("");
    writeFileSync(`${path}.part`, text);
    renameSync(`${path}.part`, path);
  }

  append(entry: LogEntry): void {
    appendFileSync(this.#path, `${JSON.stringify(entry)}\n`);
  }
}

/** Entries of a log; a last line that a killed process left unfinished is none. */
export function readLog(path: string): LogEntry[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as LogEntry];
      } catch {
        return [];
      }
    });
}
