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

/** Entries of a log; what is none is left out, as a last line is that a killed process left unfinished. */
export function readLog(path: string): LogEntry[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        const value: unknown = JSON.parse(line);
        return isEntry(value) ? [value] : [];
      } catch {
        return [];
      }
    });
}

const numbers: Readonly<Record<LogEntry["kind"], readonly string[]>> = {
  step: ["step", "loss", "tokens", "rate", "weightDecay", "gradientNorm", "seconds", "tokensPerSecond"],
  evaluation: ["step", "loss", "tokens"],
  checkpoint: ["step"],
};

function isEntry(value: unknown): value is LogEntry {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Record<string, unknown>;
  const { kind } = entry;
  if (kind !== "step" && kind !== "evaluation" && kind !== "checkpoint") return false;
  return numbers[kind].every((name) => typeof entry[name] === "number");
}
