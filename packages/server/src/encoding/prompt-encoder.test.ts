/** Long prompts are encoded elsewhere: the same ids, nothing of the work on this thread, and those who leave are let go at once. */
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTask } from "node:timers/promises";
import {
  chatTemplateFor,
  describeModel,
  openModelFiles,
  readTokenizer,
  type Tokenizer,
} from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { embeddedModelPath } from "bitnet.ts";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type EncodeJob, runJob, sizeOf } from "./encode-job.ts";
import { type EncodingModel, longPrompt, PromptEncoder } from "./prompt-encoder.ts";

let folder: string;
let source: string;
let model: EncodingModel;
/** Characters that this thread has encoded. */
let nHere = 0;
let encoder: PromptEncoder;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-encoder-"));
  source = join(folder, "model.gguf");
  copyFileSync(embeddedModelPath(), source);
  const files = await openModelFiles(await openPath(source));
  const described = describeModel(files, source);
  const tokenizer = readTokenizer(files, described.config);
  await files.close();
  const counted: Tokenizer = {
    ...tokenizer,
    encode(text, options) {
      nHere += text.length;
      return tokenizer.encode(text, options);
    },
    encodeSegments(segments) {
      nHere += segments.reduce<number>((sum, part) => sum + (typeof part === "string" ? part.length : 1), 0);
      return tokenizer.encodeSegments(segments);
    },
  };
  const template = chatTemplateFor(described.chatTemplate, source, described.defaultChatTemplate, tokenizer);
  model = { tokenizer: counted, template };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => encoder.dispose());

function open(isUnchanged = true): PromptEncoder {
  encoder = new PromptEncoder(model, source, async () => isUnchanged);
  return encoder;
}

const long = "What was <|eot_id|> said — \u{1f600} — 1234 times?\n".repeat(1000);
const never = new AbortController().signal;
const text = (of: string): EncodeJob => ({ kind: "text", text: of, bos: true, special: false });
const jobs: Record<string, EncodeJob> = {
  text: text(long),
  "text with control tokens": { kind: "text", text: long, bos: false, special: true },
  segments: { kind: "segments", segments: [0, long, 5, long] },
  chat: {
    kind: "chat",
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: long },
    ],
    tools: undefined,
    templateArguments: undefined,
    prefix: "Well,",
  },
  "a chat of many messages": {
    kind: "chat",
    messages: Array.from({ length: 1501 }, (_, i) => ({
      role: i % 2 === 0 ? ("user" as const) : ("assistant" as const),
      content: `Message ${i} <|eot_id|>`,
    })),
    tools: undefined,
    templateArguments: undefined,
    prefix: "",
  },
};

test.each(Object.keys(jobs))("%s: the same as on this thread, which does nothing of it", async (name) => {
  const job = jobs[name] as EncodeJob;
  expect(sizeOf(job)).toBeGreaterThan(longPrompt);
  const expected = runJob(job, model.tokenizer, () => model.template);
  nHere = 0;
  expect(await open().encode(job, never)).toEqual(expected);
  expect(nHere).toBe(0);
});

test("others have their turn while a long prompt is encoded", async () => {
  open();
  let isDone = false;
  const done = encoder.encode(text(long), never).then(() => {
    isDone = true;
  });
  let turns = 0;
  while (!isDone) {
    await nextTask();
    turns++;
  }
  await done;
  expect(turns).toBeGreaterThan(1);
});

test("short prompts stay here, and many of them give the others a turn for every long one's worth", async () => {
  open();
  const short = "word ".repeat(2000);
  nHere = 0;
  let turns = 0;
  let atTurn = 0;
  let most = 0;
  let isDone = false;
  const watch = (async () => {
    while (!isDone) {
      most = Math.max(most, nHere - atTurn);
      atTurn = nHere;
      turns++;
      await nextTask();
    }
  })();
  for (let i = 0; i < 40; i++) await encoder.encode(text(short), never);
  isDone = true;
  await watch;
  expect(nHere).toBe(40 * short.length);
  expect(most).toBeLessThanOrEqual(longPrompt);
  expect(turns).toBeGreaterThan((40 * short.length) / longPrompt);
});

test("whoever leaves is let go at once, waiting or not, and the others get theirs", async () => {
  open();
  const leaving = [new AbortController(), new AbortController()];
  const left = leaving.map(({ signal }) => encoder.encode(text(long), signal));
  const stays = encoder.encode(text(`${long}!`), never);
  const reason = new Error("gone");
  await nextTask();
  for (const each of leaving) each.abort(reason);
  for (const each of left) await expect(each).rejects.toBe(reason);
  expect((await stays).ids).toEqual(runJob(text(`${long}!`), model.tokenizer, () => model.template).ids);
  await expect(encoder.encode(text("x"), AbortSignal.abort(reason))).rejects.toBe(reason);
});

test("errors are those of this thread", async () => {
  const job: EncodeJob = {
    ...(jobs.chat as EncodeJob & { kind: "chat" }),
    messages: [{ role: "user" } as never],
  };
  const padded = { ...job, tools: [long] } as EncodeJob;
  const here = await open(false)
    .encode(padded, never)
    .catch((error: unknown) => error);
  encoder.dispose();
  const there = await open()
    .encode(padded, never)
    .catch((error: unknown) => error);
  expect(here).toMatchObject({ code: expect.any(String) });
  expect(there).toMatchObject({ code: (here as { code: string }).code, message: (here as Error).message });
});

test("a file that has changed since is not read: it is done here", async () => {
  nHere = 0;
  const { ids } = await open(false).encode(text(long), never);
  expect(nHere).toBe(long.length);
  expect(ids.length).toBeGreaterThan(1000);
});

test("a thread that cannot read the model, or is ended, is an error and not a wait", async () => {
  encoder = new PromptEncoder(model, join(folder, "none.gguf"), async () => true);
  await expect(encoder.encode(text(long), never)).rejects.toThrow(/none\.gguf/);
  encoder.dispose();
  open();
  const waiting = [encoder.encode(text(long), never), encoder.encode(text(long), never)];
  await nextTask();
  encoder.dispose();
  for (const each of waiting) await expect(each).rejects.toMatchObject({ code: "DISPOSED" });
});
