/** Readers, masks, packing and mixing: what a model is taught is what the file says. */
import { spawnSync } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chatTemplateFor, encodeChat, type Tokenizer, tokenizerFromJson } from "@bitnet.ts/core";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chatTemplate, controlTokens, tokenizerJson } from "../tokenizer/tokenizer-files.ts";
import { PieceCounter, trainBpe } from "../tokenizer/train-bpe.ts";
import { cutExample, type Example, encodeExample } from "./example.ts";
import { openExamples } from "./file-examples.ts";
import { Mixture, shuffled } from "./mixture.ts";
import { labelWeight, packDocuments } from "./pack.ts";
import { exampleOf, parseExample } from "./parse-example.ts";

function testTokenizer(): Tokenizer {
  const counter = new PieceCounter();
  counter.add("User: Hello there! Assistant: Hello, how are you? The cat sat. System: Be kind. ".repeat(3));
  return tokenizerFromJson(
    tokenizerJson(trainBpe(counter.counts, { vocabSize: 340, specialTokens: [...controlTokens] }), 64),
  );
}

const tokenizer = testTokenizer();
const bitnet = chatTemplateFor(chatTemplate, "test");
const chatMl = chatTemplateFor(
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
  "ChatML",
);
const chat: Example = {
  kind: "chat",
  messages: [
    { role: "system", content: "Be kind." },
    { role: "user", content: "Hello there!" },
    { role: "assistant", content: "Hello, how are you?" },
    { role: "user", content: "The cat sat." },
    { role: "assistant", content: "Yes." },
  ],
};

/** The runs of tokens with weight 1, as text. */
function learnt(example: Example, template = bitnet, otherWeight = 0): string[] {
  const { ids, weights } = encodeExample(example, { tokenizer, template, otherWeight });
  const runs: string[] = [];
  ids.forEach((id, i) => {
    if (weights[i] !== 1) return;
    if (weights[i - 1] !== 1) runs.push("");
    runs.push((runs.pop() ?? "") + tokenizer.decode([id]));
  });
  return runs;
}

describe("what is learnt of a conversation", () => {
  it("is what the assistant says and the end of its turns", () => {
    expect(learnt(chat)).toEqual([" Hello, how are you?<|eot_id|>", " Yes.<|eot_id|>"]);
  });

  it("ends with the turn's end in other templates too, also when a turn follows", () => {
    expect(learnt(chat, chatMl)).toEqual(["Hello, how are you?<|im_end|>\n", "Yes.<|im_end|>\n"]);
  });

  it("follows the very tokens of the prompt, also where a header ends in a space that words would take", () => {
    const spaced = chatTemplateFor(chatTemplate.replace("'Assistant:'", "'Assistant: '"), "BitNet's own");
    expect(learnt(chat, spaced)).toEqual(["Hello, how are you?<|eot_id|>", "Yes.<|eot_id|>"]);
    for (const template of [bitnet, spaced, chatMl]) {
      const { ids, weights } = encodeExample(chat, { tokenizer, template, otherWeight: 0 });
      const messages = chat.kind === "chat" ? chat.messages.slice(0, 2) : [];
      const prompt = encodeChat(tokenizer, template, messages, { addGenerationPrompt: true }).ids;
      expect([...ids.subarray(0, prompt.length)]).toEqual([...prompt]);
      expect(weights.indexOf(1)).toBe(prompt.length);
    }
  });

  it("weighs the rest as asked, and never the first token", () => {
    const { weights } = encodeExample(chat, { tokenizer, template: bitnet, otherWeight: 0.125 });
    expect(new Set(weights)).toEqual(new Set([0, 0.125, 1]));
    expect([...weights].filter((weight) => weight === 0)).toHaveLength(1);
  });

  it("is refused where a template changes earlier turns", () => {
    const template = chatTemplateFor(
      "{{ messages | length }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
      "counting",
    );
    expect(() => learnt(chat, template)).toThrow(/counting.*changes how earlier/);
  });

  it("of a text is everything, its end included", () => {
    expect(learnt({ kind: "text", text: "The cat sat." })).toEqual(["The cat sat.<|end_of_text|>"]);
  });
});

describe("records", () => {
  const messages = (question: string, answer: string) => [
    { role: "user", content: question },
    { role: "assistant", content: answer },
  ];
  it.each([
    [{ instruction: "Add.", input: "1 2", output: "3" }, messages("Add.\n1 2", "3")],
    [{ instruction: "Add.", output: "3" }, messages("Add.", "3")],
    [{ input: "Hi", output: "Hello" }, messages("Hi", "Hello")],
    [{ messages: messages("a", "b") }, messages("a", "b")],
  ])("%j", (record, expected) => {
    expect(exampleOf(record, "x")).toEqual({ kind: "chat", messages: expected });
  });

  it("of text are texts, or split in the middle at white space", () => {
    expect(exampleOf({ text: "one two three" }, "x")).toEqual({ kind: "text", text: "one two three" });
    const [user, assistant] = messages("one two", "three four");
    expect(exampleOf({ text: "one two three four" }, "x", "split")).toEqual({
      kind: "chat",
      messages: [user, assistant],
    });
  });

  it.each([
    ["{", /7.*not JSON/],
    ["[1]", /7: expected an object/],
    ['{"foo": 1}', /7: expected messages.*found foo/],
    ['{"text": " "}', /7: expected a text that is not empty as text/],
    ['{"messages": []}', /7: expected messages/],
    ['{"messages": [{"role": "user", "content": "x"}]}', /at least one message of the assistant/],
    ['{"messages": [{"role": "us er", "content": "x"}]}', /role and a text as content in message 1/],
    ['{"input": "x", "output": 3}', /as output, found number/],
  ])("that are none are refused: %s", (line, message) => {
    expect(() => parseExample(line, "x:7")).toThrow(message);
  });
});

describe("files", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bitnet-train-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  it("give their lines in any order, blank ones left out", () => {
    const path = write("a.jsonl", '\uFEFF{"text":"é1"}\n\n{"text":"two"}\r\n{"text":"three"}');
    const file = openExamples(path);
    expect([2, 0, 1].map((i) => file.at(i))).toEqual(
      ["three", "é1", "two"].map((text) => ({ kind: "text", text })),
    );
    expect(file.count).toBe(3);
    file.close();
  });

  it("report every bad line by its number, or leave it out", () => {
    const path = write("a.jsonl", '{"text":"one"}\n\n{"text":3}\nnonsense\n{"text":"five"}\n');
    expect(() => openExamples(path)).toThrow(/2 lines cannot be read: .*a\.jsonl:3: .*a\.jsonl:4: /);
    const skipped: string[] = [];
    const file = openExamples(path, { skipsBadLines: true, onBadLine: (message) => skipped.push(message) });
    expect(skipped).toHaveLength(2);
    expect([file.count, file.at(1)]).toEqual([2, { kind: "text", text: "five" }]);
    file.close();
  });

  it("may be one list of records, of a file or in memory; every bad one by its place", () => {
    const records = [{ text: "one" }, { input: "a", output: "b" }];
    const path = write("a.json", `\n ${JSON.stringify(records, null, 2)}`);
    for (const data of [path, records]) {
      const list = openExamples(data, { maxSamples: 9 });
      expect([list.count, list.at(0)]).toEqual([2, { kind: "text", text: "one" }]);
      expect(list.at(1)).toMatchObject({ kind: "chat" });
      list.close();
    }
    expect(() => openExamples([{ text: "one" }, { text: 3 }, 4])).toThrow(
      /2 records cannot be read: records\[1\]: .*records\[2\]: /,
    );
    expect(() => openExamples([])).toThrow(/holds no example/);
    expect(() => openExamples(write("b.json", '[{"text":'))).toThrow(/b\.json: is not JSON/);
    // Lines under that name are lines.
    const lines = openExamples(write("c.json", '{"text":"one"}\n{"text":"two"}\n'));
    expect(lines.count).toBe(2);
    lines.close();
  });

  it("give the first examples where that is all that is wanted", () => {
    const records = ["one", "two", "three"].map((text) => ({ text }));
    const path = write("a.jsonl", records.map((record) => JSON.stringify(record)).join("\n"));
    for (const data of [path, records])
      for (const [maxSamples, count] of [[2, 2] as const, [3, 3] as const, [9, 3] as const]) {
        const file = openExamples(data, { maxSamples });
        expect(file.count).toBe(count);
        file.close();
      }
  });

  it("are read from the disk one by one: they may be larger than the memory", () => {
    const path = join(folder, "large.jsonl");
    const line = `${JSON.stringify({ text: "x".repeat(2 ** 14) })}\n`;
    for (let i = 0; i < 64; i++) appendFileSync(path, line.repeat(64)); // 64 MiB
    const program = `
      import { openExamples } from ${JSON.stringify(new URL("../../dist/index.js", import.meta.url).href)};
      const file = openExamples(${JSON.stringify(path)});
      let sum = 0;
      for (let i = 0; i < file.count; i++) sum += file.at(i).text.length;
      console.log(file.count, sum);`;
    const args = ["--max-old-space-size=32", "--input-type=module", "-e", program];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(stdout, stderr).toBe(`4096 ${2 ** 26}\n`);
  });

  it("of plain text give paragraphs", () => {
    const file = openExamples(write("a.txt", "one\ntwo\n\n \nthree\n"), { maxSamples: 5 });
    expect([file.count, file.at(0), file.at(1)]).toEqual([
      2,
      { kind: "text", text: "one\ntwo" },
      { kind: "text", text: "three" },
    ]);
    file.close();
  });

  it("that are missing, empty or folders are refused", () => {
    expect(() => openExamples(join(folder, "none.jsonl"))).toThrow(/none.jsonl: no such file$/);
    expect(() => openExamples(write("b.jsonl", "\n\n"))).toThrow(/holds no example/);
    expect(() => openExamples(folder)).toThrow(/is no file|cannot be read/);
  });
});

describe("packing", () => {
  const document = (n: number) => ({
    ids: Int32Array.from({ length: n }, (_, i) => i),
    weights: new Float32Array(n).fill(1),
  });

  it("keeps documents whole and in order, and labels with the next token of the same document", () => {
    const batches = packDocuments([4, 3, 6, 2].map(document), 6);
    expect(batches.map(({ starts }) => [...starts])).toEqual([
      [0, 3, 5],
      [0, 5, 6],
    ]);
    expect(
      batches.map(({ ids, labels }) => [...labels].every((label, i) => label === (ids[i] ?? 0) + 1)),
    ).toEqual([true, true]);
  });

  it("loses and doubles nothing when it cuts", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 60 }), fc.integer({ min: 1, max: 9 }), (n, longest) => {
        const whole = document(n);
        whole.weights[0] = 0;
        const pieces = cutExample(whole, longest);
        expect(pieces.every(({ ids }) => ids.length <= longest + 1)).toBe(true);
        expect(labelWeight(pieces)).toBe(n - 1);
        expect(pieces.flatMap(({ ids }) => [...ids.slice(1)])).toEqual([...whole.ids.slice(1)]);
      }),
    );
  });
});

describe("mixtures", () => {
  const source = (name: string, count: number) => ({
    count,
    at: (i: number): Example => ({ kind: "text", text: `${name}${i}` }),
  });
  const textOf = (example: Example) => (example.kind === "text" ? example.text : "");

  it("pass through every example once an epoch, in another order each", () => {
    const mixture = new Mixture([source("a", 20)], 3);
    const epochs = [0, 1].map(() => Array.from({ length: 20 }, () => textOf(mixture.next([1]).example)));
    expect(new Set(epochs[0])).toEqual(new Set(epochs[1]));
    expect(new Set(epochs[0])).toHaveProperty("size", 20);
    expect(epochs[0]).not.toEqual(epochs[1]);
    expect([...shuffled(50, 1, 0, 0)].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  it("keep to the shares of tokens, and go on where a state left off", () => {
    const run = (mixture: Mixture, n: number) =>
      Array.from({ length: n }, () => {
        const { source: from, example } = mixture.next([3, 1, 0]);
        mixture.count(from, from === 0 ? 10 : 30);
        return textOf(example);
      });
    const sources = () => [source("a", 7), { count: null, at: source("b", 0).at }, source("c", 5)];
    const first = new Mixture(sources(), 3);
    const whole = run(first, 100);
    const [a, b, c] = first.state.tokens as [number, number, number];
    expect(a / b).toBeCloseTo(3, 0);
    expect(c).toBe(0);
    const again = new Mixture(sources(), 3);
    run(again, 41);
    const resumed = new Mixture(sources(), 3);
    resumed.restore(JSON.parse(JSON.stringify(again.state)));
    expect(run(resumed, 59)).toEqual(whole.slice(41));
  });
});
