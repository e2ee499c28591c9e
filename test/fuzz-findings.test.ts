/** What fuzzing has found, as fixed cases: each of them once ended in another error than ours, in a hang, or in a message without a bound. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNetError, tokenizerFromJson } from "@bitnet.ts/core";
import { loadTask } from "@bitnet.ts/eval";
import { drawLog, parseRecipe, readLog } from "@bitnet.ts/train";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openHistory } from "#cli/chat-history.ts";
import { readEmbeddingModules } from "#core/model/embedding-modules.ts";
import { readParquet } from "#eval/tasks/parquet-records.ts";
import { openJournal } from "#facade/hub/journal.ts";
import { isHubModel } from "#facade/hub/model-info.ts";

let folder = "";
const file = (name: string, text: string | Uint8Array) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-findings-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** JSON that JavaScript cannot print: an object that hides its own toString, and a list that nests too deeply. */
const unprintable: unknown[] = [
  { toString: 1, valueOf: 2 },
  JSON.parse(`${"[".repeat(20_000)}${"]".repeat(20_000)}`),
];

/** A message of ours that is short, whatever was in the file. */
async function refusal(read: () => unknown): Promise<string> {
  try {
    await read();
  } catch (error) {
    if (!(error instanceof BitNetError)) throw error;
    expect(error.message.length).toBeLessThan(4000);
    return `${error.code} ${error.message}`;
  }
  throw new Error("it was read");
}

it.each(unprintable)("types of tokenizer steps and models that cannot be printed", async (type) => {
  const model = { type: "BPE", vocab: { a: 0 }, merges: [] };
  const read = (tokenizer: object) => refusal(() => tokenizerFromJson({ tokenizer }));
  expect(await read({ model, pre_tokenizer: { type } })).toMatch(/^FORMAT_UNSUPPORTED .*not supported/);
  expect(await read({ model: { ...model, type } })).toMatch(/^FORMAT_UNSUPPORTED .*only "BPE" and "Unigram"/);
});

it("a tokenizer.json that is no object is named without two colons", async () => {
  expect(await refusal(() => tokenizerFromJson({ tokenizer: 3 }))).toBe(
    "TOKENIZER_INVALID tokenizer.json: expected an object, found 3",
  );
});

it.each(unprintable)("modules of sentence-transformers whose type cannot be printed", async (type) => {
  const modules = { list: [{ type, path: type }], parts: new Map() };
  const files = {
    kind: "hf",
    config: {},
    tokenizerJson: {},
    tensors: new Map(),
    modules,
    close: async () => {},
  } as const;
  const model = { config: { architecture: "qwen3" }, tensors: new Map() } as never;
  expect(await refusal(() => readEmbeddingModules(files, model))).toMatch(/^FORMAT_UNSUPPORTED/);
});

it.each(unprintable)(
  "a recipe whose values cannot be printed, and one with thousands of faults",
  async (value) => {
    expect(
      await refusal(() => parseRecipe({ name: value, tokens: value, extensions: [value] }, "r.json")),
    ).toMatch(/^INVALID_ARGUMENT r\.json: .*name is an? (object|array)/);
    const extensions = new Array(3000).fill(0);
    expect(await refusal(() => parseRecipe({ extensions }, "r.json"))).toMatch(/; and \d{4,} more$/);
  },
);

it("a history with damaged lines keeps the others, and goes on behind a torn one", () => {
  const path = file("history", '"one"\n{"no":1}\n"tw');
  const history = openHistory(path);
  expect(history.entries).toEqual(["one"]);
  history.add("two");
  appendFileSync(path, "null\n");
  expect(openHistory(path).entries).toEqual(["one", "two"]);
});

it("a log of training without what it has to hold is drawn from the rest", () => {
  const step = {
    kind: "step",
    step: 1,
    loss: 2,
    tokens: 3,
    rate: 1,
    weightDecay: 0,
    gradientNorm: 1,
    seconds: 1,
  };
  const good = { ...step, tokensPerSecond: 5 };
  const lines = [
    good,
    null,
    3,
    step,
    { ...good, loss: "2" },
    { ...good, rate: null },
    { kind: "evaluation" },
  ];
  const entries = readLog(file("log.jsonl", lines.map((line) => JSON.stringify(line)).join("\n")));
  expect(entries).toEqual([good]);
  expect(drawLog(entries, 60, 4).at(-1)).toMatch(/^step 1: loss 2\.0000/);
});

it("choices that are no texts, and answers of any length", async () => {
  const item = {
    question: "?",
    choices: { text: ["a", "b"], label: ["A", "B"] },
    answerKey: "x".repeat(70_000),
  };
  const load = (line: object) => {
    file("arc_easy.jsonl", JSON.stringify(line));
    return refusal(() => loadTask("arc_easy", { folder, chat: false, allowsCode: false }));
  };
  expect(await load(item)).toMatch(/the answer "x+…" is none of the labels/);
  expect(await load({ ...item, choices: { text: ["a", {}], label: ["A", "B"] } })).toMatch(
    /as many texts as labels/,
  );
});

it("Parquet whose decoding does not end is ended", async () => {
  const columnData = [{ name: "question", data: ["a", "b"] }];
  const path = file("own.parquet", new Uint8Array(parquetWriteBuffer({ columnData: columnData as never })));
  expect(await readParquet(path)).toHaveLength(2);
  expect(await refusal(() => readParquet(path, 0))).toMatch(/^FORMAT_INVALID .*does not come to an end/);
});

it("Parquet whose failed columns leave others behind does not end the process", async () => {
  const columnData = ["a", "b", "c"].map((name) => ({ name, data: ["xxxxxxxx", "yyyyyyyy"] }));
  const good = new Uint8Array(parquetWriteBuffer({ columnData: columnData as never }));
  // The pages of all columns, not the list of columns at the end.
  const bent = good.map((byte, at) => (at > 4 && at < good.length / 3 ? byte ^ 0xff : byte));
  expect(await refusal(() => readParquet(file("bent.parquet", bent)))).toMatch(/^FORMAT_INVALID/);
});

it("a hub's file that no disk holds has no size: tables grow with it before a byte has come", () => {
  const listing = (size: number) => ({
    ...{ repo: "o/m", commit: "0".repeat(40) },
    files: [{ path: "model.gguf", size, hash: "0".repeat(64), hashKind: "sha256" }],
  });
  expect([2 ** 41, 2 ** 45, 2 ** 53 - 1].map((size) => isHubModel(listing(size)))).toEqual([
    true,
    false,
    false,
  ]);
});

it("a journal of another download, or longer than any, is begun anew", async () => {
  const path = file("download.journal", "");
  const plan = { size: 100, pieceBytes: 8 };
  const first = await openJournal(path, plan);
  await first.add(3);
  await first.close();
  const doneIn = async (of: typeof plan) => {
    const journal = await openJournal(path, of);
    await journal.close();
    return journal.done.flatMap((isDone, piece) => (isDone ? [piece] : []));
  };
  expect(await doneIn(plan)).toEqual([3]);
  expect(await doneIn({ ...plan, size: 101 })).toEqual([]);
  const again = await openJournal(path, plan);
  for (let n = 0; n < 30; n++) await again.add(4);
  await again.close();
  expect(await doneIn(plan)).toEqual([]);
});
