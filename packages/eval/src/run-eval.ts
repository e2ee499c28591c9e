/** Runs tasks on a model, item by item, and keeps what is done, so that a run that was stopped goes on where it stood. */
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { throwIfAborted } from "@bitnet.ts/core";
import type { EvalModel } from "./models/eval-model.ts";
import { judgeChoices, passAtK, type Score, scoreOf } from "./scores.ts";
import type { AnswerItem, AnswerTask, ChoiceItem, ChoiceTask, Draws, Task } from "./tasks/task.ts";

interface ItemResult {
  readonly id: string;
  readonly judged: Readonly<Record<string, boolean | number>>;
  /** Likelihoods of the choices, the answer, or all answers drawn. */
  readonly detail: unknown;
}

export interface TaskResult {
  readonly task: Pick<Task, "name" | "kind" | "mainMetric" | "chance" | "published" | "settings">;
  readonly scores: Readonly<Record<string, Score>>;
  readonly nItems: number;
  /** Of the whole task, where a limit cut it. */
  readonly nAll: number;
  readonly items: readonly ItemResult[];
  /** Why there are no scores. */
  readonly skipped: string | null;
  /** SHA-256 of ids and right answers in order: two results are comparable when it is the same. */
  readonly labels: string;
}

export interface EvalOptions {
  /** Items at most, the first ones. */
  limit?: number;
  /** Items at a time. */
  concurrency?: number;
  /** Keeps finished items here, and takes them from here. */
  itemsPath?: string;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

export async function runTask(model: EvalModel, task: Task, options: EvalOptions = {}): Promise<TaskResult> {
  const { limit = Number.POSITIVE_INFINITY, concurrency = 4, signal, onProgress } = options;
  const items: readonly (ChoiceItem | AnswerItem)[] = task.items.slice(0, limit);
  const { name, kind, mainMetric, chance, published, settings } = task;
  const facts = {
    task: { name, kind, mainMetric, chance, published, settings },
    nAll: task.items.length,
    labels: labelsHash(task),
  };
  if (task.skipped !== undefined)
    return { ...facts, scores: {}, nItems: 0, items: [], skipped: task.skipped };
  const store = new ItemStore(options.itemsPath, runKey(model, task));
  const results: ItemResult[] = new Array(items.length);
  let done = 0;
  const queue = items.entries();
  const worker = async () => {
    for (const [i, item] of queue) {
      throwIfAborted(signal);
      const known = store.find(item.id);
      const result = known ?? (await runItem(model, task, item));
      if (known === undefined) store.add(result);
      results[i] = result;
      onProgress?.(++done, items.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker));
  return { ...facts, scores: scoresOf(results), nItems: items.length, items: results, skipped: null };
}

async function runItem(model: EvalModel, task: Task, item: ChoiceItem | AnswerItem): Promise<ItemResult> {
  if ("requests" in item) {
    const likelihoods = await model.likelihoods(item.requests);
    const judged = judgeChoices(item, likelihoods);
    const { metrics } = task as ChoiceTask;
    return {
      id: item.id,
      judged: Object.fromEntries(metrics.map((metric) => [metric, judged[metric]])),
      detail: likelihoods.map(({ sum }) => sum),
    };
  }
  const { draws } = task as AnswerTask;
  if (draws !== undefined) return drawItem(model, item, draws);
  const answer = await model.answer(item.request);
  return { id: item.id, judged: await item.judge(answer), detail: answer };
}

/** How many answers are looked at together. */
const shownDraws = [1, 5, 10, 100];
/** As HumanEval's authors draw. */
const drawTopP = 0.95;

async function drawItem(
  model: EvalModel,
  item: AnswerItem,
  { count, temperature }: Draws,
): Promise<ItemResult> {
  const answers = await Promise.all(
    Array.from({ length: count }, (_, i) =>
      model.answer({ ...item.request, sampling: { temperature, topP: drawTopP, seed: i + 1 } }),
    ),
  );
  let nRight = 0;
  // One program at a time: each has a time limit.
  for (const answer of answers) if ((await item.judge(answer)).pass_at_1) nRight++;
  const ks = shownDraws.filter((k) => k <= count);
  const judged = Object.fromEntries(ks.map((k) => [`pass_at_${k}`, passAtK(count, nRight, k)]));
  return { id: item.id, judged, detail: answers };
}

function scoresOf(results: readonly ItemResult[]): Record<string, Score> {
  const metrics = Object.keys(results[0]?.judged ?? {});
  return Object.fromEntries(
    metrics.map((metric) => [metric, scoreOf(results.map(({ judged }) => judged[metric] ?? false))]),
  );
}

function labelsHash({ items }: Task): string {
  const labels = items.map((item) => [item.id, "gold" in item ? item.gold : null]);
  return createHash("sha256").update(JSON.stringify(labels)).digest("hex");
}

/** Everything that an item's result depends on. */
function runKey(model: EvalModel, task: Task): string {
  const asked = task.items.map((item) =>
    "requests" in item ? [item.id, item.requests, item.gold] : [item.id, item.request],
  );
  return createHash("sha256")
    .update(JSON.stringify([model.name, model.settings, task.name, task.settings, asked]))
    .digest("hex");
}

/** Finished items of one model and task in a JSONL file, the first line of which says whose they are. */
class ItemStore {
  readonly #path: string | undefined;
  readonly #known = new Map<string, ItemResult>();

  constructor(path: string | undefined, key: string) {
    this.#path = path;
    if (path === undefined) return;
    const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
    if (parse<{ key: string }>(lines[0] ?? "")?.key !== key) {
      writeFileSync(path, `${JSON.stringify({ key })}\n`);
      return;
    }
    // A last line that was cut short is computed again; the file must not go on in the middle of it.
    const results = lines.slice(1).flatMap((line) => {
      const result = parse<unknown>(line);
      return isItemResult(result) ? [result] : [];
    });
    for (const result of results) this.#known.set(result.id, result);
    // Beside it first: whoever is killed here keeps what is done.
    const part = `${path}.${process.pid}.part`;
    writeFileSync(part, [{ key }, ...results].map((line) => `${JSON.stringify(line)}\n`).join(""));
    renameSync(part, path);
  }

  find(id: string): ItemResult | undefined {
    return this.#known.get(id);
  }

  add(result: ItemResult): void {
    if (this.#path !== undefined) appendFileSync(this.#path, `${JSON.stringify(result)}\n`);
  }
}

function isItemResult(value: unknown): value is ItemResult {
  const { id, judged } = Object(value) as Record<string, unknown>;
  if (typeof id !== "string" || typeof judged !== "object" || judged === null || Array.isArray(judged))
    return false;
  const marks: unknown[] = Object.values(judged);
  return marks.length > 0 && marks.every((mark) => typeof mark === "boolean" || Number.isFinite(mark));
}

function parse<T>(line: string): T | undefined {
  try {
    return JSON.parse(line) as T;
  } catch {
    return undefined;
  }
}
