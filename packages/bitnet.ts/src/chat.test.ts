/** The rules of a conversation, on a model that only counts what it is asked. */
import {
  type ChatMessage,
  type ChatTemplate,
  type GenerateOptions,
  runEncodeJob,
  type Tokenizer,
} from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { Chat, type ChatModel } from "./chat.ts";
import type { GenerationSource } from "./generation.ts";

/** A model whose messages take `tokensOf` tokens each, and which answers by `answer`. */
function fakeModel({ contextLength = 100, tokensOf = (_: ChatMessage): number => 10, answer = ok } = {}) {
  const seen = { renders: 0, messages: 0, prompts: [] as string[][] };
  let rendered: readonly ChatMessage[] = [];
  const renderedTo = new WeakMap<Int32Array, readonly ChatMessage[]>();
  const template = {
    source: "",
    render: ({ messages }: { messages: readonly ChatMessage[] }) => {
      seen.renders++;
      seen.messages += messages.length;
      rendered = messages;
      return "";
    },
  } as unknown as ChatTemplate;
  const tokenizer = {
    bosId: null,
    eosIds: [],
    addBos: false,
    specialTokens: new Map(),
    decode: () => "",
    idOf: () => null,
    encodeSegments: () => {
      const ids = new Int32Array(rendered.reduce((sum, message) => sum + tokensOf(message), 0));
      renderedTo.set(ids, rendered);
      return ids;
    },
  } as unknown as Tokenizer;
  const model: ChatModel = {
    contextLength,
    fit: (job) => runEncodeJob(job, tokenizer, () => template),
    begin(ids, options) {
      seen.prompts.push((renderedTo.get(ids) ?? []).map(({ content }) => String(content)));
      return answer(ids, options);
    },
  };
  return { model, seen };
}

function generationOf(result: Promise<unknown>): GenerationSource {
  result.catch(() => {});
  return { result, async *read() {} } as unknown as GenerationSource;
}

function ok(_ids: Int32Array, _options: GenerateOptions): GenerationSource {
  return generationOf(Promise.resolve({ text: "answer" }));
}

const turns = (n: number): ChatMessage[] =>
  Array.from({ length: n }, (_, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content: `${i}` }));

describe("a full context", () => {
  it("drops messages with their answers, the oldest first, and no more than it must", async () => {
    // 75 of 100 tokens are for the prompt: seven messages of ten.
    const { model, seen } = fakeModel();
    const chat = new Chat(model, { messages: turns(8) });
    await chat.send("new").result;
    expect(seen.prompts).toEqual([["2", "3", "4", "5", "6", "7", "new"]]);
    expect(chat.droppedMessages).toBe(2);
    expect(chat.messages.map(({ content }) => content)).toEqual([...(seen.prompts[0] ?? []), "answer"]);
  });

  it("keeps the system message, and drops a message without an answer alone", async () => {
    const { model, seen } = fakeModel({ contextLength: 40 });
    const messages = [{ role: "user", content: "unanswered" }, ...turns(2)];
    await new Chat(model, { system: "sys", messages }).send("new").result;
    expect(seen.prompts).toEqual([["sys", "new"]]);
    const lone = fakeModel({ contextLength: 44 });
    const chat = new Chat(lone.model, { messages });
    await chat.send("new").result;
    expect(lone.seen.prompts).toEqual([["0", "1", "new"]]);
    expect(chat.droppedMessages).toBe(1);
  });

  it("leaves room for an answer, but never more than a quarter", async () => {
    const roomFor = async (maxTokens: number) => {
      const { model, seen } = fakeModel();
      await new Chat(model, { messages: turns(20) }).send("new", { maxTokens }).result;
      return seen.prompts[0]?.length;
    };
    expect(await Promise.all([0, 1, 10, 11, 25, 1000].map(roomFor))).toEqual([9, 9, 9, 7, 7, 7]);
  });

  it("takes a last message that leaves less room, up to the context, and refuses a longer one", async () => {
    const chatOf = (tokens: number) =>
      new Chat(fakeModel({ tokensOf: () => tokens }).model, { messages: turns(4) });
    await chatOf(99).send("new").result;
    const chat = chatOf(100);
    expect(() => chat.send("new")).toThrow(expect.objectContaining({ code: "CONTEXT_EXCEEDED" }));
    expect(chat.messages).toEqual(turns(4));
    expect(chat.droppedMessages).toBe(0);
  });

  it("drops 1600 turns with work that does not grow with their square", async () => {
    const { model, seen } = fakeModel();
    const chat = new Chat(model, { messages: turns(3200) });
    await chat.send("new").result;
    expect(chat.droppedMessages).toBe(3194);
    expect(seen.renders).toBeLessThan(2 * Math.log2(1600) + 4);
    expect(seen.messages).toBeLessThan(3200 * 12);
  });
});

describe("the history", () => {
  it("shows a message that was sent before the answer came both the first message and its answer", async () => {
    const pending: ((text: string) => void)[] = [];
    const { model, seen } = fakeModel({
      contextLength: 1000,
      answer: () => generationOf(new Promise((resolve) => pending.push((text) => resolve({ text })))),
    });
    const chat = new Chat(model);
    const [first, second] = [chat.send("a").result, chat.send("b").result];
    expect(pending).toHaveLength(1);
    pending[0]?.("to a");
    await first;
    await expect.poll(() => pending.length).toBe(2);
    pending[1]?.("to b");
    await second;
    expect(seen.prompts).toEqual([["a"], ["a", "to a", "b"]]);
    expect(chat.messages.map(({ content }) => content)).toEqual(["a", "to a", "b", "to b"]);
  });

  it("takes a message back whose generation failed, at once or later", async () => {
    const fail = new Error("failed");
    const later = new Chat(fakeModel({ answer: () => generationOf(Promise.reject(fail)) }).model, {
      messages: turns(2),
    });
    await expect(later.send("new").result).rejects.toBe(fail);
    expect(later.messages).toEqual(turns(2));
    const atOnce = new Chat(
      fakeModel({
        answer: () => {
          throw fail;
        },
      }).model,
      { messages: turns(2) },
    );
    expect(() => atOnce.send("new")).toThrow(fail);
    expect(atOnce.messages).toEqual(turns(2));
  });

  it("stays empty when it was cleared while an answer was under way", async () => {
    let finish = (_: unknown) => {};
    const { model } = fakeModel({
      answer: () =>
        generationOf(
          new Promise((resolve) => {
            finish = resolve;
          }),
        ),
    });
    const chat = new Chat(model, { system: "sys" });
    const { result } = chat.send("a");
    chat.clear();
    finish({ text: "late" });
    await result;
    expect(chat.messages).toEqual([{ role: "system", content: "sys" }]);
  });

  it("does not change what it was made from, nor what it has given out", async () => {
    const given = turns(2);
    const chat = new Chat(fakeModel().model, { messages: given });
    const before = chat.messages;
    await chat.send("new").result;
    expect(given).toHaveLength(2);
    expect(before).toHaveLength(2);
  });

  it("leaves out white space that an answer begins with, of thoughts and answer alike", async () => {
    const pieces = [" ", "\n hm", "\n", "  We", " are"].map((text, id) => ({
      id,
      text,
      channel: id < 3 ? ("thinking" as const) : ("answer" as const),
    }));
    const result = Promise.resolve({ text: "  We are", thinking: " \n hm\n" });
    const answer = () =>
      ({
        result,
        async *read() {
          yield* pieces;
        },
      }) as unknown as GenerationSource;
    const { model } = fakeModel({ answer });
    const chat = new Chat(model);
    const generation = chat.send("who?");
    const read: string[] = [];
    for await (const { text } of generation) read.push(text);
    expect(read).toEqual(["", "hm", "\n", "We", " are"]);
    expect(await generation.result).toMatchObject({ text: "We are", thinking: "hm\n" });
    expect(chat.messages.at(-1)).toMatchObject({ content: "We are" });
  });

  it("has the answer when a loop over the pieces ends", async () => {
    const chat = new Chat(fakeModel().model);
    for await (const _ of chat.send("a")) void _;
    expect(chat.messages).toHaveLength(2);
  });
});
