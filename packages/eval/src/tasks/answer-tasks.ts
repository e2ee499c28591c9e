/** The tasks that are scored by what a model writes: GSM8K, MATH-500, tasks of one's own. */
import type { ChatMessage } from "@bitnet.ts/core";
import { finalAnswer } from "../answers/boxed.ts";
import { equalAnswers } from "../answers/equal-answers.ts";
import { equalNumbers, equalTexts, flexibleNumber, strictNumber } from "../answers/numbers.ts";
import { idOf, textField } from "./records.ts";
import type { AnswerTask } from "./task.ts";
import type { TaskRecord } from "./task-record.ts";

export interface AnswerTaskOptions {
  /** Ask as a conversation, with examples as earlier turns, or as a text to continue. */
  chat: boolean;
  shots: number;
  /** Keep the calculator's `<<48/2=24>>` in the examples, as the harness does. */
  keepsAnnotations?: boolean;
}

/** Ends of turns as texts, for models that write them out. */
const turnEnds = ["</s>", "<|im_end|>"];

/** @param examples Of the training set; the first `shots` are shown. */
export function gsm8kTask(
  records: readonly TaskRecord[],
  examples: readonly TaskRecord[],
  { chat, shots, keepsAnnotations = true }: AnswerTaskOptions,
): AnswerTask {
  const solution = (record: TaskRecord) => {
    const text = textField(record, "answer");
    return keepsAnnotations ? text : text.replaceAll(/<<[^>]*>>/g, "");
  };
  const ask = (record: TaskRecord) => `Question: ${textField(record, "question")}\nAnswer:`;
  const shown = examples.slice(0, shots);
  const items = records.map((record, i) => {
    const gold = strictNumber(textField(record, "answer")) ?? "";
    const turns: ChatMessage[] = shown.flatMap((example) => [
      { role: "user", content: ask(example) },
      { role: "assistant", content: solution(example) },
    ]);
    const text = shown.map((example) => `${ask(example)} ${solution(example)}\n\n`).join("") + ask(record);
    return {
      id: idOf(record, i),
      request: {
        prompt: chat ? [...turns, { role: "user", content: ask(record) }] : text,
        stop: ["Question:", ...turnEnds],
        maxTokens: 512,
      },
      judge: (answer: string) => ({
        strict: equalTexts(strictNumber(answer), gold),
        flexible: equalTexts(flexibleNumber(answer), gold),
        numeric: equalNumbers(strictNumber(answer) ?? flexibleNumber(answer), gold),
      }),
    };
  });
  return {
    kind: "answer",
    name: "gsm8k",
    settings: { shots: shown.length, chat, keepsAnnotations, maxTokens: 512 },
    mainMetric: "strict",
    chance: 0,
    published: 0.5838,
    items,
  };
}

export function math500Task(records: readonly TaskRecord[], maxTokens = 1024): AnswerTask {
  const items = records.map((record, i) => {
    const gold = textField(record, "answer");
    const question = `${textField(record, "problem")}\nPlease reason step by step, and put your final answer within \\boxed{}.`;
    return {
      id: idOf(record, i, "unique_id"),
      request: { prompt: [{ role: "user", content: question }], stop: turnEnds, maxTokens },
      judge: (answer: string) => ({ ...equalAnswers(finalAnswer(answer), gold) }),
    };
  });
  return {
    kind: "answer",
    name: "math500",
    settings: { shots: 0, chat: true, maxTokens, form: "boxed" },
    mainMetric: "symbolic",
    chance: 0,
    published: 43.4 / 100,
    items,
  };
}

/** `prompt` (or `question`) and `answer`: right when the answer's text is the same, or holds it. */
export function ownAnswerTask(
  records: readonly TaskRecord[],
  name: string,
  { chat }: { chat: boolean },
): AnswerTask {
  const plain = (text: string) => text.trim().toLowerCase().replaceAll(/\s+/g, " ");
  const items = records.map((record, i) => {
    const prompt = textField(record, "prompt", "question");
    const gold = plain(textField(record, "answer"));
    const { stop } = record.fields;
    const stops = Array.isArray(stop)
      ? stop.filter((each): each is string => typeof each === "string" && each !== "")
      : [];
    return {
      id: idOf(record, i),
      request: { prompt: chat ? [{ role: "user", content: prompt }] : prompt, stop: stops, maxTokens: 256 },
      judge: (answer: string) => ({
        exact: plain(answer) === gold,
        contains: gold !== "" && plain(answer).includes(gold),
      }),
    };
  });
  return {
    kind: "answer",
    name,
    settings: { shots: 0, chat, maxTokens: 256 },
    mainMetric: "exact",
    chance: 0,
    published: null,
    items,
  };
}
