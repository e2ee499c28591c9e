/** Where the tasks' data lie on the Hub: the repositories that lm-evaluation-harness takes them from. */
import type { PullOptions } from "bitnet.ts/hub";

export interface HubData {
  /** `owner/name` of a dataset. */
  readonly repo: string;
  /** Paths of the file of items, which may have parts. */
  readonly items: RegExp;
  /** Paths of the file that examples come from. */
  readonly examples?: RegExp;
}

export const hubData: Readonly<Record<string, HubData>> = {
  arc_challenge: { repo: "allenai/ai2_arc", items: /^ARC-Challenge\/test-.*\.parquet$/ },
  arc_easy: { repo: "allenai/ai2_arc", items: /^ARC-Easy\/test-.*\.parquet$/ },
  boolq: { repo: "google/boolq", items: /^data\/validation-.*\.parquet$/ },
  winogrande: { repo: "allenai/winogrande", items: /^winogrande_xl\/validation-.*\.parquet$/ },
  hellaswag: { repo: "Rowan/hellaswag", items: /^data\/validation-.*\.parquet$/ },
  mmlu: {
    repo: "cais/mmlu",
    items: /^all\/test-.*\.parquet$/,
    examples: /^all\/dev-.*\.parquet$/,
  },
  gsm8k: {
    repo: "openai/gsm8k",
    items: /^main\/test-.*\.parquet$/,
    examples: /^main\/train-.*\.parquet$/,
  },
  math500: { repo: "HuggingFaceH4/MATH-500", items: /^test\.jsonl$/ },
  humaneval: { repo: "openai/openai_humaneval", items: /^openai_humaneval\/test-.*\.parquet$/ },
  humaneval_plus: { repo: "evalplus/humanevalplus", items: /^data\/test-.*\.parquet$/ },
};

/** Local paths of a task's data, brought into the Hub's cache where they are not yet. */
export async function pullTaskData(
  { repo, items, examples }: HubData,
  options: PullOptions,
): Promise<{ items: string[]; examples: string[] }> {
  const { pullDataset } = await import("bitnet.ts/hub");
  const patterns = examples === undefined ? [items] : [items, examples];
  const [itemPaths = [], examplePaths = []] = await pullDataset(repo, patterns, options);
  return { items: itemPaths, examples: examplePaths };
}
