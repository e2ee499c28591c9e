/** Readers of what downloads, trainings and evaluations keep beside their work, so that they can go on. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { acquireLock } from "@bitnet.ts/core/node";
import { type EvalModel, loadTask, runTask } from "@bitnet.ts/eval";
import { referenceKernels, trainBpe } from "@bitnet.ts/train";
import { parseRecord, resumeHash } from "#facade/cache/file-record.ts";
import { openJournal } from "#facade/hub/journal.ts";
import { fetchModelInfo, type HubModel, isHubModel } from "#facade/hub/model-info.ts";
import { smallExecutor } from "#train/graph/small-model.test.kit.ts";
import { readVocabulary, storeVocabulary } from "#train/tokenizer/stored-vocabulary.ts";
import { restoreNewest, saveCheckpoint } from "#train/train/checkpoint.ts";
import { defaultOptimizer, Optimizer } from "#train/train/optimizer.ts";
import { otherBytes, otherJson, otherLines, pick } from "./mutants.ts";
import type { Files, FuzzedReader } from "./reader.ts";
import { latin, lines, put, textReader } from "./text-reader.ts";

/** What `write` leaves in an empty folder. */
async function filesOf(write: (folder: string) => Promise<unknown>): Promise<Files> {
  const folder = await mkdtemp(join(tmpdir(), "bitnet-state-"));
  try {
    await write(folder);
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const names = entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    return new Map(
      await Promise.all(
        names.map(async (name) => [name.slice(folder.length + 1), await readFile(name)] as const),
      ),
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}

const textOf = (files: Files, name: string) => Buffer.from(files.get(name) ?? []).toString();

const executor = smallExecutor(referenceKernels("f32"));
const optimizer = new Optimizer(executor, defaultOptimizer);
const checkpoint = await filesOf(async (folder) => {
  const data = { taken: [3, 4], tokens: [30, 40] };
  for (const step of [1, 2])
    await saveCheckpoint(
      folder,
      executor,
      optimizer,
      { step, tokens: 70, data, best: { loss: 2, step: 1 }, recipe: "r" },
      { keep: 2 },
    );
});

const vocabulary = trainBpe(
  new Map([
    ["ab", 4],
    ["abc", 3],
    ["bcd", 2],
  ]),
  {
    ...{ vocabSize: 260, specialTokens: ["<s>"] },
  },
);
const vocabularyText = textOf(
  await filesOf((folder) => storeVocabulary(join(folder, "vocabulary.json"), "key", vocabulary)),
  "vocabulary.json",
);

const questions = [0, 1, 2].map((i) => ({ question: `What is ${i}?`, choices: ["a", "b"], gold: i % 2 }));
const model: EvalModel = {
  name: "always the first",
  settings: {},
  likelihoods: async (requests: readonly unknown[]) =>
    requests.map((_, i) => ({ sum: -i, isGreedy: i === 0, nTokens: 1, nBytes: 1 })),
  answer: async () => "a",
} as unknown as EvalModel;
async function evaluate(folder: string): Promise<void> {
  put(new Map([["own.jsonl", latin(lines(...questions))]]), folder);
  const task = await loadTask(join(folder, "own.jsonl"), {
    folder,
    chat: false,
    shots: 0,
    allowsCode: false,
  });
  const { scores } = await runTask(model, task, { itemsPath: join(folder, "items.jsonl") });
  if (Object.values(scores).some(({ value }) => !Number.isFinite(value)))
    throw new Error("a score is no number");
}
const results = await filesOf(evaluate);

const plan = { size: 100, pieceBytes: 8 };
const journalBytes =
  [
    ...(
      await filesOf(async (folder) => {
        const journal = await openJournal(join(folder, "journal"), plan);
        for (const piece of [0, 3, 12]) await journal.add(piece);
        await journal.close();
      })
    ).values(),
  ][0] ?? new Uint8Array();

const commit = "0123456789abcdef0123456789abcdef01234567";
const listing = {
  sha: commit,
  siblings: [
    { rfilename: "model.gguf", size: 9, lfs: { sha256: "ab".repeat(32), size: 9 } },
    { rfilename: "config.json", size: 2, blobId: commit },
  ],
};
const known: HubModel = {
  ...{ repo: "o/m", commit },
  files: [{ path: "model.gguf", size: 9, hash: "ab".repeat(32), hashKind: "sha256" }],
};
const settings = {
  ...{ endpoint: "https://hub.invalid", cacheDir: "", token: null, isOffline: false, stallMs: 1000 },
  followsRedirects: "here" as const,
};

/** As if a hub had answered with it. */
async function askHub(body: string): Promise<HubModel> {
  const real = globalThis.fetch;
  globalThis.fetch = async (url) => Object.defineProperty(new Response(body), "url", { value: String(url) });
  try {
    return await fetchModelInfo("o/m", "main", { settings, attempts: 1 });
  } finally {
    globalThis.fetch = real;
  }
}

const record = {
  ...{ model: "hf:o/m", file: "model.gguf", size: 500, validator: null, written: 100, isComplete: false },
  hash: {
    ...{
      state: [1, 2, 3, 4, 5, 6, 7, 8],
      buffer: new Array(128).fill(0),
      bufferLength: 36,
      bytesHashed: 100,
    },
  },
  usedAt: 5,
};

export const stateReaders: readonly FuzzedReader[] = [
  {
    name: "checkpoint",
    rounds: 120,
    takesAnything: true,
    mutant(random) {
      const name = pick([...checkpoint.keys()], random);
      const bytes = checkpoint.get(name) ?? new Uint8Array();
      const other = name.endsWith(".json")
        ? latin(otherJson(Buffer.from(bytes).toString(), random))
        : otherBytes(bytes, random);
      return new Map(checkpoint).set(name, other);
    },
    async read(files, folder) {
      put(files, folder);
      const notices: string[] = [];
      const state = await restoreNewest(folder, executor, optimizer, ["r"], (line) => notices.push(line));
      if (state === null) throw new Error("the other checkpoint was not found");
      if (notices.some((line) => line.length > 1000)) throw new Error("a notice has no end");
      if (state.step > 2 || !Number.isFinite(state.tokens + (state.data.taken[0] ?? 0)))
        throw new Error("what was restored is none");
    },
  },
  textReader(
    "vocabulary of a run",
    {
      file: "vocabulary.json",
      rounds: 150,
      takesAnything: true,
      sources: [vocabularyText],
      other: otherJson,
    },
    (path) => {
      const read = readVocabulary(path, "key");
      const spelled = (tokens: readonly Uint8Array[]) =>
        tokens.map((bytes) => Buffer.from(bytes).toString("hex"));
      for (const [i, text] of spelled(read?.tokens ?? []).entries())
        if (i < 256 && text !== spelled(vocabulary.tokens)[i]) throw new Error("a byte is another");
    },
  ),
  textReader(
    "results of an evaluation",
    {
      file: "items.jsonl",
      rounds: 120,
      takesAnything: true,
      sources: [textOf(results, "items.jsonl")],
      other: otherLines,
    },
    (path) => evaluate(join(path, "..")),
  ),
  {
    name: "journal of a download",
    rounds: 200,
    takesAnything: true,
    mutant: (random) => new Map([["journal", otherBytes(journalBytes, random)]]),
    async read(files, folder) {
      const path = put(files, folder);
      const journal = await openJournal(path, plan);
      if (journal.done.length !== 13) throw new Error("the pieces are not as many as they are");
      await journal.add(5);
      await journal.close();
      const again = await openJournal(path, plan);
      await again.close();
      if (again.done[5] !== true) throw new Error("what was added is not there");
    },
  },
  textReader(
    "lock of a download",
    {
      file: "lock",
      rounds: 100,
      takesAnything: true,
      sources: [JSON.stringify({ pid: process.ppid, host: hostname(), id: "x" })],
      other: otherJson,
    },
    async (path) => {
      let nAsked = 0;
      const lock = await acquireLock(path, { isDone: async () => nAsked++ > 0, pollMs: 1 });
      await lock?.release();
    },
  ),
  textReader(
    "listing of a hub",
    { file: "listing.json", rounds: 250, sources: [JSON.stringify(listing)], other: otherJson },
    async (path) => {
      const { files } = await askHub(await readFile(path, "utf8"));
      // What a download makes of a size before a byte has come.
      for (const { size } of files)
        if (size > 2 ** 44) throw new Error(`a file of ${size} bytes is believed`);
    },
  ),
  textReader(
    "listings that were kept",
    { file: "listing.json", rounds: 150, sources: [JSON.stringify(known)], other: otherJson },
    async (path) => {
      const value: unknown = JSON.parse(await readFile(path, "utf8").then(jsonOrNull));
      if (!isHubModel(value)) throw new BitNetError("FORMAT_INVALID", "no listing");
      for (const { path: name, hash, size } of value.files) `${name.slice(1)}${hash.slice(1)}`.slice(size);
    },
  ),
  textReader(
    "record of a kept file",
    {
      file: "record.json",
      rounds: 200,
      takesAnything: true,
      sources: [JSON.stringify(record)],
      other: otherJson,
    },
    async (path) => {
      const read = parseRecord(await readFile(path, "utf8"));
      if (read !== null) resumeHash(read.hash).update(new Uint8Array(100)).digest();
    },
  ),
];

function jsonOrNull(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return "null";
  }
}
