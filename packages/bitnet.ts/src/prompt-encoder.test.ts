/** Long prompts are encoded elsewhere: the same ids, nothing of the work on this thread, and those who leave are let go at once. */
import { appendFileSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTask } from "node:timers/promises";
import {
  chatTemplateFor,
  describeModel,
  type EncodeJob,
  encodeJobSize,
  longPrompt,
  openModelFiles,
  readTokenizer,
  runEncodeJob,
  type Tokenizer,
} from "@bitnet.ts/core";
import { type EncodingModel, openPath, PromptEncoder } from "@bitnet.ts/core/node";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { BitNet } from "./bitnet.ts";
import { InferenceService } from "./inference-service.ts";
import { embeddedModelPath } from "./platform.node.ts";

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

function open(place: string | null = source): PromptEncoder {
  encoder = new PromptEncoder(model, place);
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
  "a conversation that loses its oldest turns": {
    kind: "conversation",
    conversation: {
      system: "Be brief.",
      turns: Array.from({ length: 41 }, (_, i) => ({
        role: i % 2 === 0 ? ("user" as const) : ("assistant" as const),
        content: `${i} ${"and so on <|eot_id|> ".repeat(50)}`,
      })),
      tools: [],
      contextLength: 2000,
      answerTokens: 100,
    },
    options: { addGenerationPrompt: true },
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
  expect(encodeJobSize(job)).toBeGreaterThan(longPrompt);
  const expected = runEncodeJob(job, model.tokenizer, () => model.template);
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
  expect((await stays).ids).toEqual(
    runEncodeJob(text(`${long}!`), model.tokenizer, () => model.template).ids,
  );
  await expect(encoder.encode(text("x"), AbortSignal.abort(reason))).rejects.toBe(reason);
});

test("errors are those of this thread", async () => {
  const job: EncodeJob = {
    ...(jobs.chat as EncodeJob & { kind: "chat" }),
    messages: [{ role: "user" } as never],
  };
  const padded = { ...job, tools: [long] } as EncodeJob;
  const here = await open(null)
    .encode(padded, never)
    .catch((error: unknown) => error);
  encoder.dispose();
  const there = await open()
    .encode(padded, never)
    .catch((error: unknown) => error);
  expect(here).toMatchObject({ code: expect.any(String) });
  expect(there).toMatchObject({ code: (here as { code: string }).code, message: (here as Error).message });
});

test("a file that has changed since is not read: it is done here, and so is what is nowhere", async () => {
  const changing = join(folder, "changing.gguf");
  copyFileSync(source, changing);
  open(changing);
  nHere = 0;
  const before = await encoder.encode(text(long), never);
  expect(nHere).toBe(0);
  appendFileSync(changing, "x");
  expect(await encoder.encode(text(long), never)).toEqual(before);
  expect(nHere).toBe(long.length);
  encoder.dispose();
  expect(await open(join(folder, "none.gguf")).encode(text(long), never)).toEqual(before);
  expect(nHere).toBe(2 * long.length);
});

test("a thread that cannot read the model, or is ended, is an error and not a wait", async () => {
  writeFileSync(join(folder, "broken.gguf"), "GGUF");
  await expect(open(join(folder, "broken.gguf")).encode(text(long), never)).rejects.toThrow(
    /gguf: the header needs/,
  );
  encoder.dispose();
  open();
  const waiting = [encoder.encode(text(long), never), encoder.encode(text(long), never)];
  await nextTask();
  encoder.dispose();
  for (const each of waiting) await expect(each).rejects.toMatchObject({ code: "DISPOSED" });
});

/** Counts what the model's own tokenizer, on this thread, is given. */
async function loadCounted(): Promise<BitNet> {
  const loaded = await BitNet.load(source, { onNotice: () => {} });
  const { tokenizer } = loaded;
  const { encode, encodeSegments } = tokenizer;
  Object.assign(tokenizer, {
    encode(of: string, options?: { bos?: boolean; special?: boolean }) {
      nHere += of.length;
      return encode(of, options);
    },
    encodeSegments(segments: readonly (string | number)[]) {
      for (const part of segments) nHere += String(part).length;
      return encodeSegments(segments);
    },
  });
  return loaded;
}

test("generate, chats, embeddings and the service encode long prompts there, with the ids that they have here", async () => {
  const loaded = await loadCounted();
  nHere = 0;
  try {
    const { contextLength } = loaded.info;
    const service = new InferenceService(loaded, { cache: false });
    const cut = await service.generate({ prompt: long, maxTokens: 2, temperature: 0 });
    const chat = loaded.createChat({
      messages: Array.from({ length: 200 }, (_, i) => ({
        role: i % 2 === 0 ? "user" : "assistant",
        content: `${i} ${"and so on ".repeat(20)}`,
      })),
    });
    const answer = chat.send("Now?", { maxTokens: 4, temperature: 0 });
    expect(chat.messages.at(-1)?.content).toBe("Now?");
    const told = await answer.result;
    await expect(loaded.generate(long).text).rejects.toMatchObject({ code: "CONTEXT_EXCEEDED" });
    await expect(loaded.embed(long)).rejects.toMatchObject({ code: "CONTEXT_EXCEEDED" });
    const embedded = await loaded.embed(long, { truncate: true });
    expect(nHere).toBe(0);

    expect(cut).toMatchObject({ status: "success", isTruncated: true });
    const ids = model.tokenizer.encode(long, { bos: true });
    const kept = Int32Array.from(ids.slice(ids.length - (contextLength - 1)));
    kept[0] = model.tokenizer.bosId ?? 0;
    const alone = await loaded.generate(kept, { maxTokens: 2, temperature: 0 }).result;
    expect(cut.response).toBe(alone.text);
    expect(chat.droppedMessages).toBeGreaterThan(100);
    expect(chat.messages.at(-1)).toMatchObject({ role: "assistant", content: told.text });
    const shorter = loaded.createChat({ messages: chat.messages.slice(0, -2) });
    const again = await shorter.send("Now?", { maxTokens: 4, temperature: 0 }).result;
    expect(again.promptIds).toEqual(told.promptIds);
    expect(shorter.droppedMessages).toBe(0);
    expect(embedded.promptTokens).toBeLessThanOrEqual(contextLength);
  } finally {
    await loaded.dispose();
  }
});

test("a generation that is aborted or disposed while its prompt is encoded ends as others do", async () => {
  const loaded = await BitNet.load(source, { onNotice: () => {} });
  const controller = new AbortController();
  const aborted = loaded.generate(long, { signal: controller.signal });
  const told = loaded.createChat().send(long, { signal: controller.signal });
  controller.abort();
  expect((await aborted.result).stopReason).toBe("abort");
  expect((await told.result).stopReason).toBe("abort");
  const left = loaded.generate(long);
  const failed = expect(left.result).rejects.toMatchObject({ code: "DISPOSED" });
  await loaded.dispose();
  await failed;
});
