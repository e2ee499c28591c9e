/** Tasks as data: items with what is asked, and how an answer is judged. Knows no model. */
import type { AnswerRequest, LikelihoodRequest } from "../models/eval-model.ts";

export interface ChoiceItem {
  readonly id: string;
  /** One per choice. */
  readonly requests: readonly LikelihoodRequest[];
  /** What sums are divided by for acc_norm and acc_bytes: the choices without their leading space. */
  readonly choices: readonly string[];
  readonly gold: number;
}

/** Several answers an item, drawn rather than greedy; the share of draws of k that hold a right one is scored. */
export interface Draws {
  readonly count: number;
  readonly temperature: number;
}

export interface AnswerItem {
  readonly id: string;
  readonly request: AnswerRequest;
  /** By metric: whether the answer is right. */
  readonly judge: (
    answer: string,
  ) => Readonly<Record<string, boolean>> | Promise<Readonly<Record<string, boolean>>>;
}

interface TaskFacts {
  readonly name: string;
  /** What scores depend on besides the items; goes into reports. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** The figure that papers quote. */
  readonly mainMetric: string;
  /** Share of right answers by guessing. */
  readonly chance: number;
  /** Figure of the BitNet b1.58 2B-4T report (arXiv 2504.12285, table 1), as a share. */
  readonly published: number | null;
  /** Why it cannot run here. */
  readonly skipped?: string;
}

export interface ChoiceTask extends TaskFacts {
  readonly kind: "choice";
  /** Metrics that make sense. */
  readonly metrics: readonly ("acc" | "acc_norm" | "acc_bytes")[];
  readonly items: readonly ChoiceItem[];
}

export interface AnswerTask extends TaskFacts {
  readonly kind: "answer";
  /** Default: one greedy answer. Only for a judge with the one metric `pass_at_1`. */
  readonly draws?: Draws;
  readonly items: readonly AnswerItem[];
}

export type Task = ChoiceTask | AnswerTask;
