/** Tasks by name, from files or from the Hub. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import type { PullOptions } from "bitnet.ts/hub";
import { findSandbox } from "../code/python.ts";
import { gsm8kTask, math500Task, ownAnswerTask } from "./answer-tasks.ts";
import {
  arcTask,
  boolqTask,
  hellaswagTask,
  mmluTask,
  ownChoiceTask,
  winograndeTask,
} from "./choice-tasks.ts";
import { type HubData, hubData, pullTaskData } from "./hub-data.ts";
import { humanEvalTask } from "./humaneval-task.ts";
import { readRecords } from "./records.ts";
import type { Draws, Task } from "./task.ts";
import type { TaskRecord } from "./task-record.ts";

export interface TaskOptions {
  /** Where files of the usual names lie; null: the Hub's datasets, which are kept in its cache. */
  folder: string | null;
  /** Ask in chat form where a task has one. */
  chat: boolean;
  /** Examples shown; default: what the 2B-4T report used. */
  shots?: number;
  /** Programs of the model may run. */
  allowsCode: boolean;
  /** Of tasks with programs; default: one greedy answer. */
  draws?: Draws;
  /** How the Hub is asked. */
  hub?: PullOptions;
}

interface TaskKind {
  /** File names, the first that exists is read. */
  files: readonly string[];
  /** Of examples, which need not be there. */
  exampleFiles?: readonly string[];
  make(
    records: readonly TaskRecord[],
    examples: readonly TaskRecord[],
    options: TaskOptions,
  ): Task | Promise<Task>;
}

const kinds: Readonly<Record<string, TaskKind>> = {
  arc_challenge: {
    files: ["arc_challenge_test.jsonl", "arc_challenge.jsonl"],
    make: (records) => arcTask(records, "challenge"),
  },
  arc_easy: { files: ["arc_easy_test.jsonl", "arc_easy.jsonl"], make: (records) => arcTask(records, "easy") },
  boolq: {
    files: ["boolq_validation.jsonl.gz", "boolq_validation.jsonl", "boolq.jsonl"],
    make: (records) => boolqTask(records),
  },
  winogrande: {
    files: ["winogrande_xl_dev.jsonl", "winogrande.jsonl"],
    make: (records) => winograndeTask(records),
  },
  hellaswag: { files: ["hellaswag_val.jsonl", "hellaswag.jsonl"], make: (records) => hellaswagTask(records) },
  mmlu: {
    files: ["mmlu_test.jsonl", "mmlu.jsonl"],
    exampleFiles: ["mmlu_dev.jsonl"],
    make: (records, examples, { shots = 5 }) => mmluTask(records, examples, shots),
  },
  gsm8k: {
    files: ["gsm8k_test.jsonl", "gsm8k.jsonl"],
    exampleFiles: ["gsm8k_train.jsonl", "gsm8k_train_head64.jsonl"],
    make: (records, examples, { chat, shots = 4 }) => gsm8kTask(records, examples, { chat, shots }),
  },
  math500: { files: ["math500.jsonl"], make: (records) => math500Task(records) },
  humaneval: {
    files: ["HumanEval.jsonl.gz", "HumanEval.jsonl"],
    make: (records, _, options) => codeTask(records, options, false),
  },
  humaneval_plus: {
    files: ["HumanEvalPlus-v0.1.10.jsonl.gz", "HumanEvalPlus-Mini-v0.1.10.jsonl.gz", "HumanEvalPlus.jsonl"],
    make: (records, _, options) => codeTask(records, options, true),
  },
};

export const taskNames: readonly string[] = Object.keys(kinds);

async function codeTask(
  records: readonly TaskRecord[],
  { allowsCode, chat, draws }: TaskOptions,
  isPlus: boolean,
): Promise<Task> {
  const sandbox = allowsCode
    ? await findSandbox({ needsNamespaces: false })
    : "running programs of a model needs --allow-code-execution";
  return humanEvalTask(records, sandbox, { isPlus, chat, ...(draws === undefined ? {} : { draws }) });
}

/**
 * @param name One of `taskNames`, the path of a file (JSONL or Parquet) with a task of one's own, or
 * `hf:owner/name[:split]`, a dataset that holds one.
 * @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID, INVALID_ARGUMENT for an unknown name, and what the Hub's part throws.
 */
export async function loadTask(name: string, options: TaskOptions): Promise<Task> {
  if (/^hf:/i.test(name)) {
    const { pullExamples } = await import("bitnet.ts/hub");
    return ownTask(await readAll(await pullExamples(name, options.hub)), name.slice(3), options);
  }
  if (/\.(jsonl(\.gz)?|parquet)$/.test(name)) {
    const label = name.replace(/^.*[/\\]/, "").replace(/\.(jsonl(\.gz)?|parquet)$/, "");
    return ownTask(await readRecords(name), label, options);
  }
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  if (kind === undefined) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `task "${name}" does not exist; there are ${taskNames.join(", ")}, files of one's own ending in .jsonl or .parquet, and datasets as hf:owner/name:split`,
    );
  }
  const { folder, hub = {} } = options;
  const paths =
    folder === null
      ? await pullTaskData(hubData[name] as HubData, hub)
      : { items: [findFile(folder, kind.files)], examples: existing(folder, kind.exampleFiles ?? []) };
  return kind.make(await readAll(paths.items), await readAll(paths.examples), options);
}

function ownTask(records: readonly TaskRecord[], label: string, options: TaskOptions): Task {
  return records[0]?.fields.choices === undefined
    ? ownAnswerTask(records, label, options)
    : ownChoiceTask(records, label);
}

async function readAll(paths: readonly string[]): Promise<TaskRecord[]> {
  const records: TaskRecord[] = [];
  for (const path of paths) for (const record of await readRecords(path)) records.push(record);
  return records;
}

function findFile(folder: string, files: readonly string[]): string {
  const [found] = existing(folder, files);
  if (found !== undefined) return found;
  throw new BitNetError(
    "FILE_NOT_FOUND",
    `${folder}: holds none of ${files.join(", ")}; give the folder of the data with --data, or leave it out for the Hub's`,
  );
}

/** The first that is there, if any. */
function existing(folder: string, files: readonly string[]): string[] {
  return files
    .map((file) => join(folder, file))
    .filter((path) => existsSync(path))
    .slice(0, 1);
}
