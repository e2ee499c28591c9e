/** Which strategy suits which use, by what was measured here. Strategies that answer wrongly or not at all are out. */
import type { StrategyReport } from "./strategy.ts";

export type UseCase = "production" | "development" | "mobile" | "research" | "edge" | "cloud";

export interface Recommendation {
  useCase: UseCase;
  strategy: string | null;
  /** The measurement that decided, or what was missing. */
  reason: string;
}

interface Criterion {
  useCase: UseCase;
  what: string;
  /** More is better; null: cannot be said of this strategy. */
  score(report: StrategyReport): number | null;
  /** The measurement in words. */
  tell(report: StrategyReport): string;
}

const megabyte = 1e6;
/** What the profile of a phone leaves for a model. */
const mobileMemoryBytes = 512 * megabyte;

const rate = (value: number | null) => `${(value ?? 0).toFixed(1)} tokens/s`;
const size = (bytes: number | null) => `${((bytes ?? 0) / megabyte).toFixed(1)} MB`;
const startMs = ({ loadMs, firstTokenMs }: StrategyReport) =>
  loadMs === null ? null : loadMs + (firstTokenMs ?? 0);

const criteria: readonly Criterion[] = [
  {
    useCase: "production",
    what: "text like the reference's, then speed under several requests",
    score: ({ verdict, parallelTokensPerSecond }) => (verdict === "answers" ? null : parallelTokensPerSecond),
    tell: ({ parallelTokensPerSecond }) => `${rate(parallelTokensPerSecond)} for four requests at once`,
  },
  {
    useCase: "development",
    what: "time from nothing to the first token",
    score: (report) => {
      const ms = startMs(report);
      return ms === null ? null : -ms;
    },
    tell: (report) => `first token ${(startMs(report) ?? 0).toFixed(0)} ms after the start`,
  },
  {
    useCase: "mobile",
    what: `at most ${size(mobileMemoryBytes)}, then speed of one text`,
    score: ({ memoryBytes, tokensPerSecond }) =>
      memoryBytes === null || memoryBytes > mobileMemoryBytes ? null : tokensPerSecond,
    tell: ({ memoryBytes, tokensPerSecond }) => `${rate(tokensPerSecond)} in ${size(memoryBytes)}`,
  },
  {
    useCase: "research",
    what: "the text of the reference to the letter, then speed of one text",
    score: ({ verdict, tokensPerSecond }) => (verdict === "equal" ? tokensPerSecond : null),
    tell: ({ tokensPerSecond }) => `equal to the reference at ${rate(tokensPerSecond)}`,
  },
  {
    useCase: "edge",
    what: "speed for each byte of memory",
    score: ({ memoryBytes, tokensPerSecond }) =>
      memoryBytes === null || tokensPerSecond === null ? null : tokensPerSecond / Math.max(memoryBytes, 1),
    tell: ({ memoryBytes, tokensPerSecond }) => `${rate(tokensPerSecond)} in ${size(memoryBytes)}`,
  },
  {
    useCase: "cloud",
    what: "speed under several requests",
    score: ({ parallelTokensPerSecond }) => parallelTokensPerSecond,
    tell: ({ parallelTokensPerSecond }) => `${rate(parallelTokensPerSecond)} for four requests at once`,
  },
];

export function recommend(reports: readonly StrategyReport[]): Recommendation[] {
  const right = reports.filter(({ verdict }) => ["equal", "alike", "answers"].includes(verdict));
  return criteria.map(({ useCase, what, score, tell }) => {
    const scored = right.flatMap((report) => {
      const value = score(report);
      return value === null ? [] : [{ report, value }];
    });
    scored.sort((a, b) => b.value - a.value);
    const best = scored[0]?.report;
    if (best === undefined)
      return { useCase, strategy: null, reason: `nothing that was measured qualifies (${what})` };
    return { useCase, strategy: best.name, reason: `${tell(best)} (${what})` };
  });
}
