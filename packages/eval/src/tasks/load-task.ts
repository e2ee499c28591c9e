/** Tasks by name, from files. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
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
import { humanEvalTask } from "./humaneval-task.ts";
import { readRecords, type TaskRecord } from "./records.ts";
import type { Task } from "./task.ts";

export interface TaskOptions {
  /** Where files of the usual names lie. */
  folder: string;
  /** Ask in chat form where a task has one. */
  chat: boolean;
  /** Examples shown; default: what the 2B-4T report used. */
  shots?: number;
  /** Programs of the model may run. */
  allowsCode: boolean;
}

interface TaskKind {
  /** File names, the first that exists is read. */
  files: readonly string[];
  make(records: readonly TaskRecord[], options: TaskOptions): Task;
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
    make: (records, { folder, shots = 5 }) => mmluTask(records, optional(folder, ["mmlu_dev.jsonl"]), shots),
  },
  gsm8k: {
    files: ["gsm8k_test.jsonl", "gsm8k.jsonl"],
    make: (records, { folder, chat, shots = 4 }) =>
      gsm8kTask(records, optional(folder, ["gsm8k_train.jsonl", "gsm8k_train_head64.jsonl"]), {
        chat,
        shots,
      }),
  },
  math500: { files: ["math500.jsonl"], make: (records) => math500Task(records) },
  humaneval: { files: ["HumanEval.jsonl.gz", "HumanEval.jsonl"], make: codeTask },
  humaneval_plus: {
    files: ["HumanEvalPlus-v0.1.10.jsonl.gz", "HumanEvalPlus-Mini-v0.1.10.jsonl.gz", "HumanEvalPlus.jsonl"],
    make: codeTask,
  },
};

export const taskNames: readonly string[] = Object.keys(kinds);

function codeTask(records: readonly TaskRecord[], { allowsCode }: TaskOptions): Task {
  const sandbox = allowsCode
    ? findSandbox({ needsNamespaces: false })
    : "running programs of a model needs --allow-code-execution";
  return humanEvalTask(records, sandbox);
}

/**
 * @param name One of `taskNames`, or the path of a JSONL file with a task of one's own.
 * @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID, INVALID_ARGUMENT for an unknown name.
 */
export function loadTask(name: string, options: TaskOptions): Task {
  if (/\.jsonl(\.gz)?$/.test(name)) {
    const records = readRecords(name);
    const label = name.replace(/^.*[/\\]/, "").replace(/\.jsonl(\.gz)?$/, "");
    return records[0]?.fields.choices === undefined
      ? ownAnswerTask(records, label, options)
      : ownChoiceTask(records, label);
  }
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  if (kind === undefined) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `task "${name}" does not exist; there are ${taskNames.join(", ")}, and files of one's own ending in .jsonl`,
    );
  }
  return kind.make(readRecords(findFile(options.folder, kind.files)), options);
}

function findFile(folder: string, files: readonly string[]): string {
  const found = files.map((file) => join(folder, file)).find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new BitNetError(
    "FILE_NOT_FOUND",
    `${folder}: holds none of ${files.join(", ")}; give the folder of the data with --data`,
  );
}

function optional(folder: string, files: readonly string[]): TaskRecord[] {
  const path = files.map((file) => join(folder, file)).find((each) => existsSync(each));
  return path === undefined ? [] : readRecords(path);
}
