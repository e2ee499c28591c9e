/**
 * The tasks that are scored by likelihood: prompts and scores of lm-evaluation-harness (commit 4e7e0d4, August 2026), from the files
 * of this project's collection or in the Hub's own fields.
 */
import { BitNetError, showValue } from "@bitnet.ts/core";
import { idOf, indexField, textField, textList } from "./records.ts";
import type { ChoiceItem, ChoiceTask } from "./task.ts";
import type { TaskRecord } from "./task-record.ts";

/** The delimiter belongs to the continuation. */
const delimiter = " ";

const allMetrics = ["acc", "acc_norm", "acc_bytes"] as const;

function byTexts(id: string, context: string, choices: readonly string[], gold: number): ChoiceItem {
  return {
    id,
    requests: choices.map((choice) => ({ context, continuation: delimiter + choice })),
    choices,
    gold,
  };
}

/** Mean over items of 1 / number of choices. */
function guessing(items: readonly ChoiceItem[]): number {
  return items.reduce((sum, { choices }) => sum + 1 / choices.length, 0) / Math.max(1, items.length);
}

/** By the texts of the choices, which the prompt does not list: a score is comparable only with others like it. */
export function arcTask(records: readonly TaskRecord[], difficulty: "challenge" | "easy"): ChoiceTask {
  const items = records.map((record, i) => {
    const { choices, gold } = arcChoices(record);
    return byTexts(idOf(record, i), `Question: ${textField(record, "question")}\nAnswer:`, choices, gold);
  });
  return {
    kind: "choice",
    name: `arc_${difficulty}`,
    settings: { shots: 0, scored: "texts of the choices" },
    metrics: allMetrics,
    mainMetric: "acc_norm",
    chance: guessing(items),
    published: difficulty === "challenge" ? 0.4991 : 0.7479,
    items,
  };
}

/** Keys are A–E or 1–5, and there are three to five of them: the answer is looked up in the item's own labels. */
function arcChoices(record: TaskRecord): { choices: string[]; gold: number } {
  const { choices } = record.fields;
  if (Array.isArray(choices)) {
    const texts = textList(record, "choices");
    return { choices: texts, gold: indexField(record, "gold", texts.length) };
  }
  const { text, label } = (choices ?? {}) as { text?: unknown; label?: unknown };
  const key = textField(record, "answerKey");
  const isRight = Array.isArray(text) && Array.isArray(label) && text.length === label.length;
  if (!isRight || !text.every((each): each is string => typeof each === "string"))
    throw new BitNetError("FORMAT_INVALID", `${record.where}: expected choices with as many texts as labels`);
  const gold = label.indexOf(key);
  if (gold < 0)
    throw new BitNetError(
      "FORMAT_INVALID",
      `${record.where}: the answer ${showValue(key)} is none of the labels`,
    );
  return { choices: text, gold };
}

export function boolqTask(records: readonly TaskRecord[]): ChoiceTask {
  const items = records.map((record, i) => {
    const gold = boolqGold(record);
    const question = textField(record, "question").replace(/\?$/, "");
    const context = `${textField(record, "passage")}\nQuestion: ${question}?\nAnswer:`;
    return byTexts(idOf(record, i, "idx"), context, ["no", "yes"], gold);
  });
  const yes = items.reduce((sum, { gold }) => sum + gold, 0) / Math.max(1, items.length);
  return {
    kind: "choice",
    name: "boolq",
    settings: { shots: 0, guessing: "the more frequent answer" },
    metrics: ["acc"],
    mainMetric: "acc",
    chance: Math.max(yes, 1 - yes),
    published: 0.8018,
    items,
  };
}

/** `gold` of this project's files, `answer` of google/boolq, `label` of super_glue. */
function boolqGold(record: TaskRecord): number {
  const { gold, answer } = record.fields;
  if (gold !== undefined) return indexField(record, "gold", 2);
  return typeof answer === "boolean" ? Number(answer) : indexField(record, "label", 2);
}

/** Partial scoring: two contexts, one continuation; the context with the likelier rest of the sentence wins. */
export function winograndeTask(records: readonly TaskRecord[]): ChoiceTask {
  const items = records.map((record, i): ChoiceItem => {
    const { prefix, options, suffix, gold } = winograndeParts(record);
    const requests = options.map((option) => ({
      context: prefix + option,
      continuation: delimiter + suffix,
    }));
    return { id: idOf(record, i), requests, choices: options, gold };
  });
  return {
    kind: "choice",
    name: "winogrande",
    settings: { shots: 0, scored: "the rest of the sentence after each option" },
    metrics: ["acc"],
    mainMetric: "acc",
    chance: 0.5,
    published: 0.719,
    items,
  };
}

function winograndeParts(record: TaskRecord) {
  if (record.fields.sentence === undefined) {
    const options = textList(record, "options");
    const [prefix, suffix] = [textField(record, "prefix"), textField(record, "suffix")];
    return { prefix, suffix, options, gold: indexField(record, "gold", options.length) };
  }
  const sentence = textField(record, "sentence");
  const place = sentence.indexOf("_");
  const answer = ["1", "2"].indexOf(textField(record, "answer"));
  if (place < 0 || answer < 0)
    throw new BitNetError(
      "FORMAT_INVALID",
      `${record.where}: expected a sentence with _ and the answer "1" or "2"`,
    );
  const options = [textField(record, "option1"), textField(record, "option2")];
  return {
    prefix: sentence.slice(0, place),
    suffix: sentence.slice(place + 1).trim(),
    options,
    gold: answer,
  };
}

export function hellaswagTask(records: readonly TaskRecord[]): ChoiceTask {
  const clean = (text: string) =>
    text
      .trim()
      .replaceAll(" [title]", ". ")
      .replaceAll(/\[.*?\]/g, "")
      .replaceAll("  ", " ");
  const items = records.map((record, i) => {
    const b = textField(record, "ctx_b");
    const context = `${textField(record, "ctx_a")} ${b.slice(0, 1).toUpperCase()}${b.slice(1).toLowerCase()}`;
    const endings = textList(record, "endings").map(clean);
    const label = indexField(record, "label", endings.length);
    return byTexts(
      idOf(record, i, "ind"),
      clean(`${textField(record, "activity_label")}: ${context}`),
      endings,
      label,
    );
  });
  return {
    kind: "choice",
    name: "hellaswag",
    settings: { shots: 0 },
    metrics: allMetrics,
    mainMetric: "acc_norm",
    chance: guessing(items),
    published: 0.6844,
    items,
  };
}

/** By letters, after examples of the same subject. */
export function mmluTask(
  records: readonly TaskRecord[],
  examples: readonly TaskRecord[],
  shots: number,
): ChoiceTask {
  const letters = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];
  const subjectOf = ({ fields }: TaskRecord) => (typeof fields.subject === "string" ? fields.subject : "");
  const answerOf = (record: TaskRecord, choices: readonly string[]) => {
    const { answer } = record.fields;
    const letter = typeof answer === "string" ? letters.indexOf(answer) : -1;
    return letter >= 0 && letter < choices.length ? letter : indexField(record, "answer", choices.length);
  };
  const ask = (record: TaskRecord) => {
    const choices = textList(record, "choices");
    const list = choices.map((choice, i) => `${letters[i]}. ${choice}`).join("\n");
    return { choices, text: `${textField(record, "question").trim()}\n${list}\nAnswer:` };
  };
  const items = records.map((record, i): ChoiceItem => {
    const subject = subjectOf(record);
    const { choices, text } = ask(record);
    const shown = examples.filter((example) => subjectOf(example) === subject).slice(0, shots);
    const before = shown.map((example) => {
      const asked = ask(example);
      return `${asked.text} ${letters[answerOf(example, asked.choices)]}\n\n`;
    });
    const about = `The following are multiple choice questions (with answers) about ${subject.replaceAll("_", " ")}.\n\n`;
    const context = (subject === "" ? "" : about) + before.join("") + text;
    return byTexts(idOf(record, i), context, letters.slice(0, choices.length), answerOf(record, choices));
  });
  return {
    kind: "choice",
    name: "mmlu",
    settings: { shots: examples.length === 0 ? 0 : shots, scored: "letters" },
    metrics: ["acc"],
    mainMetric: "acc",
    chance: guessing(items),
    published: 0.5317,
    items,
  };
}

/** A task of one's own: `context` (or `question`), `choices` and `gold`. */
export function ownChoiceTask(records: readonly TaskRecord[], name: string): ChoiceTask {
  const items = records.map((record, i) => {
    const choices = textList(record, "choices");
    const { question } = record.fields;
    const context =
      typeof question === "string" ? `Question: ${question}\nAnswer:` : textField(record, "context");
    return byTexts(idOf(record, i), context, choices, indexField(record, "gold", choices.length));
  });
  const settings = { shots: 0 };
  return {
    kind: "choice",
    name,
    settings,
    metrics: allMetrics,
    mainMetric: "acc_norm",
    chance: guessing(items),
    published: null,
    items,
  };
}
