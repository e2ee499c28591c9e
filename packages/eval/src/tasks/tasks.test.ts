/** Prompts and scores of every task on a few real items; a model that knows the answers gets everything right, one that is wrong nothing. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findSandbox } from "../code/python.ts";
import type { AnswerRequest } from "../models/eval-model.ts";
import { fixtures, plantedModel } from "../planted.test.kit.ts";
import { runTask } from "../run-eval.ts";
import { passAtK, scoreOf } from "../scores.ts";
import {
  arcTask,
  boolqTask,
  hellaswagTask,
  mmluTask,
  ownChoiceTask,
  winograndeTask,
} from "./choice-tasks.ts";
import { humanEvalTask } from "./humaneval-task.ts";
import { loadTask, type TaskOptions } from "./load-task.ts";
import type { ChoiceTask, Task } from "./task.ts";
import type { TaskRecord } from "./task-record.ts";

const options: TaskOptions = { folder: fixtures, chat: true, allowsCode: true };
const sandbox = await findSandbox({ needsNamespaces: false });
const record = (fields: Record<string, unknown>): TaskRecord => ({
  fields,
  line: JSON.stringify(fields),
  where: "test:1",
});
const lines = (file: string) =>
  readFileSync(join(fixtures, file), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, string>);

/** As chat models answer: words, the program in a fence with a use of it that fails, more words. */
const replyWith = ({ prompt = "", canonical_solution = "", entry_point = "" }: Record<string, string>) =>
  `Sure! Here it is:\n\n\`\`\`python\n${prompt}${canonical_solution}\nprint(${entry_point}())\n\`\`\`\n\nIt works so:\n\`\`\`\n>>> 1\n\`\`\`\n`;
const bodies = () => lines("HumanEval.jsonl").map(({ canonical_solution = "" }) => canonical_solution);

const solutions: Record<string, () => string[]> = {
  gsm8k: () => lines("gsm8k_test.jsonl").map(({ answer = "" }) => answer),
  math500: () => lines("math500.jsonl").map(({ solution = "" }) => solution),
  humaneval: () => lines("HumanEval.jsonl").map(replyWith),
  humaneval_plus: () => lines("HumanEvalPlus.jsonl").map(replyWith),
};

describe("planted answers", () => {
  const names = [
    "arc_challenge",
    "arc_easy",
    "boolq",
    "winogrande",
    "gsm8k",
    "math500",
    ...(typeof sandbox === "string" ? [] : ["humaneval", "humaneval_plus"]),
  ];
  it.each(names)("%s", async (name) => {
    const task = await loadTask(name, options);
    const all = await runTask(plantedModel(task, true, solutions[name]?.()), task);
    const none = await runTask(plantedModel(task, false), task);
    expect(all.nItems).toBeGreaterThanOrEqual(4);
    const values = (result: typeof all) => Object.values(result.scores).map(({ value }) => value);
    expect(values(all)).toEqual(values(all).map(() => 1));
    expect(values(none)).toEqual(values(none).map(() => 0));
  });

  it.skipIf(typeof sandbox === "string")("humaneval as a text to go on with", async () => {
    const task = await loadTask("humaneval", { ...options, chat: false });
    const { scores, nItems } = await runTask(plantedModel(task, true, bodies()), task);
    expect([nItems, scores.pass_at_1?.value]).toEqual([4, 1]);
    const none = await runTask(plantedModel(task, false), task);
    expect(none.scores.pass_at_1?.value).toBe(0);
  });
});

const firstOf = (task: Task) => {
  const [item] = (task as ChoiceTask).items;
  if (item === undefined) throw new Error("no item");
  return {
    contexts: item.requests.map(({ context }) => context),
    continuations: item.requests.map(({ continuation }) => continuation),
    gold: item.gold,
  };
};

describe("prompts", () => {
  it("of ARC hold the question and neither choices nor letters; answers are found by the item's own labels", async () => {
    const fields = {
      question: "Which?",
      choices: { text: ["a b", "c", "d"], label: ["1", "2", "3"] },
      answerKey: "3",
    };
    expect(firstOf(arcTask([record(fields)], "easy"))).toEqual({
      contexts: Array(3).fill("Question: Which?\nAnswer:"),
      continuations: [" a b", " c", " d"],
      gold: 2,
    });
    expect(() => arcTask([record({ ...fields, answerKey: "C" })], "easy")).toThrow(
      /test:1: the answer "C" is none/,
    );
    const counts = ((await loadTask("arc_challenge", options)) as ChoiceTask).items.map(
      ({ choices }) => choices.length,
    );
    expect(new Set(counts)).toContain(4);
    expect(counts.some((n) => n !== 4)).toBe(true);
  });

  it("of BoolQ end the question with exactly one question mark", () => {
    const fields = { passage: "Title -- Text.", question: "is it so", label: 1 };
    const expected = {
      contexts: Array(2).fill("Title -- Text.\nQuestion: is it so?\nAnswer:"),
      continuations: [" no", " yes"],
      gold: 1,
    };
    expect(firstOf(boolqTask([record(fields)]))).toEqual(expected);
    expect(firstOf(boolqTask([record({ ...fields, question: "is it so?" })]))).toEqual(expected);
  });

  it("of WinoGrande are two contexts with one continuation, from either form of the file", () => {
    const expected = {
      contexts: ["The cup fits the box as the cup", "The cup fits the box as the box"],
      continuations: [" is small.", " is small."],
      gold: 0,
    };
    const hub = {
      sentence: "The cup fits the box as the _ is small.",
      option1: "cup",
      option2: "box",
      answer: "1",
    };
    expect(firstOf(winograndeTask([record(hub)]))).toEqual(expected);
    const own = {
      prefix: "The cup fits the box as the ",
      options: ["cup", "box"],
      suffix: "is small.",
      gold: 0,
    };
    expect(firstOf(winograndeTask([record(own)]))).toEqual(expected);
  });

  it("of HellaSwag are cleaned", () => {
    const fields = {
      activity_label: "Cooking",
      ctx_a: "[header] How [title] Stir.",
      ctx_b: "the MAN",
      endings: ["[step] goes  on", "b"],
      label: "1",
    };
    expect(firstOf(hellaswagTask([record(fields)]))).toEqual({
      contexts: Array(2).fill("Cooking: How. Stir. The man"),
      continuations: ["  goes on", " b"], // a bracket at the beginning leaves its space, as in the harness
      gold: 1,
    });
  });

  it("of MMLU show letters and the first examples of the subject", () => {
    const item = (question: string, subject: string, answer: number) =>
      record({ question, subject, answer, choices: ["w", "x", "y", "z"] });
    const task = mmluTask(
      [item("Q?", "high_school_art", 2)],
      [item("E1?", "other", 0), item("E2?", "high_school_art", 3)],
      5,
    );
    const list = "A. w\nB. x\nC. y\nD. z\nAnswer:";
    const context = `The following are multiple choice questions (with answers) about high school art.\n\nE2?\n${list} D\n\nQ?\n${list}`;
    expect(firstOf(task)).toEqual({
      contexts: Array(4).fill(context),
      continuations: [" A", " B", " C", " D"],
      gold: 2,
    });
  });

  it("of GSM8K show solutions as turns, with or without the calculator's notes", async () => {
    const task = await loadTask("gsm8k", { ...options, shots: 2 });
    const [item] = task.items;
    const messages =
      item !== undefined && "request" in item
        ? (item.request.prompt as { role: string; content: string }[])
        : [];
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant", "user"]);
    expect(messages[1]?.content).toMatch(/#### /);
    expect(messages[4]?.content).toMatch(/^Question: [\s\S]*\nAnswer:$/);
  });
});

describe("scores", () => {
  const item = (choices: string[]) =>
    ownChoiceTask([record({ context: "c", choices, gold: 0 })], "own")
      .items[0] as ChoiceTask["items"][number];

  it("divide by code points or by bytes of the choice without its space", async () => {
    const task = ownChoiceTask([record({ context: "c", choices: ["éé", "abc"], gold: 0 })], "own");
    const model = {
      ...plantedModel(task, true),
      likelihoods: async () => [
        { sum: -3.9, nTokens: 1 },
        { sum: -5.8, nTokens: 1 },
      ],
    };
    const { items } = await runTask(model, task);
    // Sums favour the first; per character (2 and 3) the second, −1.95 against −1.93; per byte (4 and 3) the first.
    expect(items[0]?.judged).toEqual({ acc: true, acc_norm: false, acc_bytes: true });
    expect(item(["x", "y"]).choices).toEqual(["x", "y"]);
  });

  it("give ties to the first choice", async () => {
    const task = ownChoiceTask([record({ context: "c", choices: ["aa", "bb"], gold: 1 })], "own");
    const model = {
      ...plantedModel(task, true),
      likelihoods: async () => [
        { sum: -1, nTokens: 1 },
        { sum: -1, nTokens: 1 },
      ],
    };
    expect((await runTask(model, task)).items[0]?.judged).toEqual({
      acc: false,
      acc_norm: false,
      acc_bytes: false,
    });
  });

  it("come with √(p(1 − p)/(n − 1))", () => {
    expect(scoreOf([true, true, true, false])).toEqual({
      value: 0.75,
      standardError: Math.sqrt((0.75 * 0.25) / 3),
    });
    expect(scoreOf([true]).standardError).toBeNull();
  });

  it("stand beside the chance level: of each item's number of choices, of the more frequent answer", () => {
    const arc = arcTask(
      [3, 5].map((n) => record({ question: "q", choices: Array(n).fill("x"), gold: 0 })),
      "easy",
    );
    expect(arc.chance).toBeCloseTo((1 / 3 + 1 / 5) / 2, 12);
    const boolq = boolqTask([1, 1, 0].map((label) => record({ passage: "p", question: "q", label })));
    expect(boolq.chance).toBeCloseTo(2 / 3, 12);
  });
});

describe("several draws", () => {
  it("are scored as the share of all sets of k that hold a right one", () => {
    /** By counting all sets. */
    const counted = (n: number, nRight: number, k: number) => {
      let [all, right] = [0, 0];
      for (let set = 0; set < 2 ** n; set++) {
        const members = Array.from({ length: n }, (_, i) => i).filter((i) => (set >> i) & 1);
        if (members.length !== k) continue;
        all++;
        if (members.some((i) => i < nRight)) right++;
      }
      return right / all;
    };
    for (let n = 1; n <= 8; n++)
      for (let nRight = 0; nRight <= n; nRight++)
        for (let k = 1; k <= n; k++) expect(passAtK(n, nRight, k)).toBeCloseTo(counted(n, nRight, k), 12);
    expect(passAtK(200, 3, 100)).toBeCloseTo(1 - (100 * 99 * 98) / (200 * 199 * 198), 12);
  });

  it.skipIf(typeof sandbox === "string")(
    "are asked for by seeds of their own, and judged one by one",
    async () => {
      const task = await loadTask("humaneval", {
        ...options,
        chat: false,
        draws: { count: 5, temperature: 0.6 },
      });
      const right = bodies();
      const asked: unknown[] = [];
      const model = {
        ...plantedModel(task, true, right),
        // Two of five draws of every item are right.
        answer: async (request: AnswerRequest) => {
          asked.push(request.sampling);
          const isRight = (request.sampling?.seed ?? 0) > 3;
          return isRight ? plantedModel(task, true, right).answer(request) : "    return None";
        },
      };
      const { scores, items } = await runTask(model, task, { limit: 2 });
      expect(Object.keys(scores)).toEqual(["pass_at_1", "pass_at_5"]);
      expect(scores.pass_at_1?.value).toBeCloseTo(0.4, 12);
      expect(scores.pass_at_1?.standardError).toBeCloseTo(0, 7);
      expect(scores.pass_at_5?.value).toBe(1);
      expect(asked.slice(0, 5)).toEqual(
        [1, 2, 3, 4, 5].map((seed) => ({ temperature: 0.6, topP: 0.95, seed })),
      );
      expect(items[0]?.detail).toHaveLength(5);
    },
  );
});

describe("HumanEval+", () => {
  const judge = async (fields: Record<string, unknown>, body: string) => {
    const item = {
      ...{ task_id: "HumanEval/0", entry_point: "f", atol: 0, prompt: "def f(x):\n" },
      ...{ canonical_solution: "    return x\n", base_input: [], plus_input: [], ...fields },
    };
    // As it stands in a file: numbers that JavaScript would round are put in as text.
    const line = JSON.stringify(item).replaceAll(/"raw:([^"]*)"/g, "$1");
    const task = humanEvalTask([{ fields: item, line, where: "test:1" }], sandbox, {
      isPlus: true,
      chat: false,
    });
    return (await task.items[0]?.judge(body))?.pass_at_1;
  };

  it.skipIf(typeof sandbox === "string")(
    "compares values as Python has them: large integers, floats, types",
    async () => {
      const big = { plus_input: [["raw:9007199254740993"]] };
      expect(await judge(big, "    return x\n")).toBe(true);
      expect(await judge(big, "    return int(float(x))\n")).toBe(false); // one less, as JavaScript would have it
      const halves = { plus_input: [["raw:0.1"]], canonical_solution: "    return x + 0.2\n" };
      expect(await judge(halves, "    return 0.3\n")).toBe(true);
      expect(await judge(halves, "    return 0.3001\n")).toBe(false);
      expect(await judge({ ...halves, atol: 0.01 }, "    return 0.3001\n")).toBe(true);
      const list = { plus_input: [[1]], canonical_solution: "    return [1.0, 2.0]\n" };
      expect(await judge(list, "    return [1.0, 2.0 + 1e-9]\n")).toBe(true);
      expect(await judge(list, "    return [1.0]\n")).toBe(false);
      expect(await judge(list, "    return (1.0, 2.0 + 1e-9)\n")).toBe(false);
    },
  );

  it.skipIf(typeof sandbox === "string")(
    "wants base and extra inputs passed, and its inputs unchanged",
    async () => {
      const both = { base_input: [[[1, 2]]], plus_input: [[[3]]], canonical_solution: "    return x[0]\n" };
      expect(await judge(both, "    return x.pop(0)\n")).toBe(true); // each gets a copy
      expect(await judge(both, "    return 1\n")).toBe(false);
      expect(await judge(both, "    return 3\n")).toBe(false);
    },
  );

  it.skipIf(typeof sandbox === "string")(
    "counts programs that end, recurse or print without end as wrong",
    async () => {
      const one = { plus_input: [[1]] };
      expect(await judge(one, "    import sys; sys.exit(0)\n")).toBe(false);
      expect(await judge(one, "    import os; os._exit(0)\n")).toBe(false);
      expect(await judge(one, "    return f(x)\n")).toBe(false);
      expect(await judge(one, "    print('bitnet-eval: passed' * 99999); raise SystemExit\n")).toBe(false);
      expect(await judge(one, "    print('x' * 9999999)\n    return x\n")).toBe(true);
    },
  );
});

describe("tasks", () => {
  it("that run programs are skipped, not scored, unless that is allowed", async () => {
    const task = await loadTask("humaneval", { ...options, allowsCode: false });
    const result = await runTask(plantedModel(task, true), task);
    expect([result.scores, result.skipped]).toEqual([{}, expect.stringMatching(/--allow-code-execution/)]);
  });

  it("that do not exist or whose files are missing are refused", async () => {
    await expect(loadTask("arc_hard", options)).rejects.toThrow(/arc_challenge/);
    await expect(loadTask("hellaswag", options)).rejects.toThrow(/holds none of hellaswag_val/);
    expect(() => boolqTask([record({ passage: "p", question: "q", label: 2 })])).toThrow(
      /test:1: expected a number from 0 to 1/,
    );
  });
});
