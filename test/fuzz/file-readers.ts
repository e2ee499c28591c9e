/** Readers of what people keep beside models: training data, benchmarks, conversations, keys, recipes, logs. They take paths. */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { loadTask, taskNames } from "@bitnet.ts/eval";
import { drawLog, openExamples, parseRecipe, readLog } from "@bitnet.ts/train";
import { parquetWriteBuffer } from "hyparquet-writer";
import { openHistory } from "#cli/chat-history.ts";
import { readConversation } from "#cli/conversation-file.ts";
import { readTexts } from "#cli/embed-input.ts";
import { readParquet } from "#eval/tasks/parquet-records.ts";
import { readBatchInput } from "#server/batches/batch-input.ts";
import { fileKeys } from "#server/key-store.ts";
import { readFilterRules } from "#server/security/filter-rules.ts";
import { lineFile } from "#train/data/line-files.ts";
import { otherBytes, otherJson, otherLines, otherTable, pick, type Random } from "./mutants.ts";
import type { FuzzedReader } from "./reader.ts";
import { latin, lines, put, textReader } from "./text-reader.ts";

const examples = lines(
  {
    messages: [
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello." },
    ],
  },
  { instruction: "Add.", input: "1 2", output: "3" },
  { input: "Who?", output: "Me." },
  { text: "Once upon a time there was a dragon." },
);

const arc = {
  id: "a",
  question: "What is wet?",
  choices: { text: ["fire", "water", "sand"], label: ["A", "B", "C"] },
  answerKey: "B",
};
const items: Readonly<Record<string, unknown>> = {
  "arc_easy.jsonl": arc,
  "boolq.jsonl": { question: "is it wet", passage: "It is wet.", answer: true },
  "winogrande.jsonl": { sentence: "The _ is wet.", option1: "sea", option2: "sand", answer: "1" },
  "hellaswag.jsonl": {
    ind: 1,
    activity_label: "Rain",
    ctx_a: "It rains.",
    ctx_b: "she",
    ctx: "It rains. she",
    endings: ["a", "b", "c", "d"],
    label: 1,
  },
  "mmlu.jsonl": { question: "1+1?", subject: "maths", choices: ["1", "2", "3", "4"], answer: 1 },
  "gsm8k.jsonl": { question: "1+1?", answer: "It is 2.\n#### 2" },
  "math500.jsonl": {
    problem: "$1+1$?",
    answer: "2",
    solution: "\\boxed{2}",
    level: 1,
    subject: "Algebra",
    unique_id: "x",
  },
  "HumanEval.jsonl": {
    task_id: "t/1",
    prompt: "def f():\n",
    entry_point: "f",
    canonical_solution: " return 1",
    test: "def check(c): assert c() == 1",
  },
  "own.jsonl": { question: "What?", choices: ["a", "b"], gold: 1 },
};
const fileOfTask: Readonly<Record<string, string>> = {
  ...{
    arc_easy: "arc_easy.jsonl",
    boolq: "boolq.jsonl",
    winogrande: "winogrande.jsonl",
    hellaswag: "hellaswag.jsonl",
  },
  ...{ mmlu: "mmlu.jsonl", gsm8k: "gsm8k.jsonl", math500: "math500.jsonl", humaneval: "HumanEval.jsonl" },
};
const taskOptions = (folder: string) => ({ folder, chat: false, shots: 0, allowsCode: false });

const columns = {
  columnData: [
    { name: "question", data: ["What is wet?", "What is hot?", "Why?"] },
    { name: "answer", data: ["water", "fire", "so"] },
    { name: "id", data: [1n, 2n, 3n] },
    {
      name: "choice",
      data: [{ text: ["a", "b"], label: ["A", "B"] }, { text: ["c"], label: ["A"] }, null],
    },
    { name: "score", data: [0.5, 1.5, null] },
    { name: "when", data: [new Date(0), new Date(1e12), null] },
  ] as never,
};
/** Packed as usual, and unpacked with rows that lie apart, where damage meets values instead of the unpacking. */
const parquets = [
  Buffer.from(parquetWriteBuffer(columns)),
  Buffer.from(parquetWriteBuffer({ ...columns, codec: "UNCOMPRESSED", rowGroupSize: 2 })),
];

const table = [
  "\ufeffinstruction,input,output",
  'Add.,"1, 2",3',
  '"Say ""hi"".",,"Hi,\nthere."',
  "Who?,,Me.",
  "",
].join("\r\n");
const packedFiles: Readonly<Record<string, string>> = {
  "data.jsonl": examples,
  "data.csv": table,
  "data.txt": "Once upon a time\nthere was\n\na dragon.\n",
};
const leastRoom = 2 ** 20;

/** Packed and then damaged, or the other way round; now and then two of them, or one that unpacks to far more than it is. */
function otherPacked(text: string, random: Random): Uint8Array {
  const packed = gzipSync(random() % 2 === 0 ? text : otherBytes(Buffer.from(text), random));
  switch (random() % 8) {
    case 0:
      return packed;
    case 1:
      return Buffer.concat([packed, gzipSync(text), Buffer.from("rest")].slice(0, 2 + (random() % 2)));
    case 2:
      return gzipSync(Buffer.alloc(leastRoom + (random() % leastRoom), text.slice(0, 1 + (random() % 8))));
    default:
      return otherBytes(packed, random, 24);
  }
}

/** As training does, with what has to be unpacked or rewritten kept in a folder of its own, of which nothing may be left. */
async function readData(path: string, folder: string): Promise<void> {
  const place = join(folder, "unpacked");
  mkdirSync(place);
  const failure: unknown = await readExamples(path, place).then(
    () => null,
    (error: unknown) => error,
  );
  const left = readdirSync(place);
  if (left.length > 0) throw new Error(`${left.join(", ")} was left behind`);
  if (failure !== null) throw failure;
}

async function readExamples(path: string, place: string): Promise<void> {
  const lines = await lineFile(path, place, 0, leastRoom);
  try {
    const opened = openExamples(lines.path, { name: path, placeOf: lines.placeOf });
    for (let i = 0; i < opened.count; i++) opened.at(i);
    opened.close();
  } finally {
    lines.remove();
  }
}

const limits = { maxLines: 50, maxLineBytes: 2 ** 16, defaultOutputTokens: 16, maxOutputTokens: 64 };
const request = (id: string) => ({
  custom_id: id,
  method: "POST",
  url: "/v1/chat/completions",
  body: { model: "m", max_tokens: 5, messages: [{ role: "user", content: "Hi" }] },
});
const step = (n: number) => ({
  ...{ kind: "step", step: n, loss: 5 / n, tokens: 64 * n, rate: 0.001, weightDecay: 0.1, gradientNorm: 1 },
  ...{ seconds: n, tokensPerSecond: 64 },
});
const recipe = {
  name: "small",
  model: {
    hiddenSize: 64,
    ffnSize: 128,
    nLayers: 1,
    nHeads: 2,
    headDim: 32,
    contextLength: 64,
    form: "b1.58",
  },
  tokenizer: { vocabSize: 300, samples: 10, required: ["a"] },
  sources: [{ path: "chats.jsonl", shares: [1, 3] }],
  tokens: 8000,
  batchTokens: 4096,
  schedule: { peakRate: 0.0025, warmupSteps: 1 },
  extensions: [{ tokens: 3000, shares: { "chats.jsonl": 1 }, peakRate: 0.001, warmupSteps: 1 }],
};
const keys = {
  version: 1,
  keys: [
    {
      id: "key_1",
      name: "n",
      tenant: "t",
      hash: "0".repeat(64),
      createdAt: "2026-01-01",
      limits: { concurrent: 2 },
    },
  ],
};
const rules = {
  rules: [{ name: "r", pattern: "(secret|token) *[0-9]+", severity: "redact", on: "both", replacement: "x" }],
};
const conversation = {
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hi" },
  ],
};

export const fileReaders: readonly FuzzedReader[] = [
  textReader(
    "training data",
    { file: "data.jsonl", rounds: 300, sources: [examples], other: otherLines },
    (path) => {
      for (const skipsBadLines of [true, false]) {
        const opened = openExamples(path, { skipsBadLines });
        for (let i = 0; i < opened.count; i++) opened.at(i);
        opened.close();
      }
    },
  ),
  {
    name: "benchmarks in JSONL",
    rounds: 400,
    mutant(random) {
      const file = pick(Object.keys(items), random);
      return new Map([[file, latin(otherLines(lines(items[file], items[file]), random))]]);
    },
    async read(files, folder) {
      const path = put(files, folder);
      const [name] = [...taskNames].filter((each) => path.endsWith(`/${fileOfTask[each]}`));
      await loadTask(name ?? path, taskOptions(folder));
    },
  },
  {
    name: "benchmarks in Parquet",
    rounds: 16,
    mutant: (random) => new Map([["own.parquet", otherBytes(pick(parquets, random), random)]]),
    async read(files, folder) {
      await readParquet(put(files, folder), 2000); // the thread of one that never ends is ended soon
    },
  },
  {
    name: "benchmarks in JSONL, gzipped",
    rounds: 100,
    mutant(random) {
      const text = lines(items["own.jsonl"], items["own.jsonl"]);
      return new Map([["own.jsonl.gz", otherPacked(text, random)]]);
    },
    async read(files, folder) {
      await loadTask(put(files, folder), taskOptions(folder));
    },
  },
  {
    name: "training data in CSV",
    rounds: 100,
    mutant: (random) => new Map([["data.csv", otherTable(table, random)]]),
    read: (files, folder) => readData(put(files, folder), folder),
  },
  {
    name: "training data, gzipped",
    rounds: 60,
    mutant(random) {
      const file = pick(Object.keys(packedFiles), random);
      return new Map([[`${file}.gz`, otherPacked(packedFiles[file] ?? "", random)]]);
    },
    read: (files, folder) => readData(put(files, folder), folder),
  },
  textReader(
    "conversation",
    { file: "chat.json", rounds: 200, sources: [JSON.stringify(conversation)], other: otherJson },
    async (path) => void (await readConversation(path)),
  ),
  textReader(
    "history",
    {
      takesAnything: true,
      file: "history",
      rounds: 150,
      sources: [lines("one", "two\nlines", "three")],
      other: otherLines,
    },
    (path) => {
      const history = openHistory(path);
      history.add("next");
      if (openHistory(path).entries.at(-1) !== "next") throw new Error("what was added is not there");
    },
  ),
  textReader(
    "keys",
    { file: "keys.json", rounds: 200, sources: [JSON.stringify(keys)], other: otherJson },
    async (path) => void (await fileKeys(path).read()),
  ),
  textReader(
    "rules of the content filter",
    { file: "rules.json", rounds: 200, sources: [JSON.stringify(rules)], other: otherJson },
    async (path) => void (await readFilterRules(path)),
  ),
  textReader(
    "batch",
    {
      takesAnything: true,
      file: "batch.jsonl",
      rounds: 200,
      sources: [lines(request("a"), request("b"))],
      other: otherLines,
    },
    async (path) => void (await readBatchInput(path, { endpoint: "/v1/chat/completions", ...limits })),
  ),
  textReader(
    "texts to embed",
    {
      file: "texts.jsonl",
      rounds: 200,
      sources: [lines({ id: 1, text: "a" }, "b", { id: "x", text: "c" })],
      other: otherLines,
    },
    async (path) => {
      const { signal } = new AbortController();
      for await (const { text } of readTexts(path, "text", signal)) text.length;
    },
  ),
  textReader(
    "recipe",
    { file: "recipe.json", rounds: 300, sources: [JSON.stringify(recipe)], other: otherJson },
    async (path) => {
      const { readJsonFile } = await import("#server/security/filter-rules.ts");
      parseRecipe(await readJsonFile(path, "the recipe"), path);
    },
  ),
  textReader(
    "training log",
    {
      takesAnything: true,
      file: "log.jsonl",
      rounds: 300,
      sources: [lines(step(1), step(2), { kind: "evaluation", step: 2, loss: 2, tokens: 9 })],
      other: otherLines,
    },
    (path) => void drawLog(readLog(path), 80, 6),
  ),
];
