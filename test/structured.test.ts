/** Answers in a form, and calls of tools, through the library, on the embedded model. */
import { BitNet, type BitNetError, type FromSchema } from "bitnet.ts";
import { afterAll, beforeAll, expect, expectTypeOf, test } from "vitest";
import { tinyModel } from "./cli-process.ts";

let model: BitNet;
beforeAll(async () => {
  model = await BitNet.load(tinyModel);
});
afterAll(() => model.dispose());

const loose = { temperature: 1.2, topP: 1, repeatPenalty: 1.2 };

test("a schema gives a value of its type", async () => {
  const schema = {
    type: "object",
    properties: {
      city: { enum: ["Rome", "Oslo"] },
      year: { type: "integer", minimum: 0, maximum: 99 },
      tags: { type: "array", items: { type: "boolean" }, maxItems: 2 },
    },
    required: ["city", "year"],
    additionalProperties: false,
  } as const;
  for (let seed = 0; seed < 6; seed++) {
    const generation = model.generate("The state of", { schema, seed, ...loose });
    const value = await generation.value;
    expectTypeOf(value).toEqualTypeOf<{ city: "Rome" | "Oslo"; year: number; tags?: boolean[] }>();
    expect(["Rome", "Oslo"]).toContain(value.city);
    expect(value.year).toBeGreaterThanOrEqual(0);
    expect(JSON.parse((await generation.result).text)).toEqual(value);
  }
  expectTypeOf<FromSchema<{ type: ["string", "null"] }>>().toEqualTypeOf<string | null>();
  expectTypeOf<
    FromSchema<{ anyOf: [{ const: 1 }, { type: "array"; items: { type: "number" } }] }>
  >().toEqualTypeOf<1 | number[]>();
});

test("patterns, choices and any JSON", async () => {
  expect(await model.generate("Hi", { pattern: /[0-9]{3}-x/, seed: 1, ...loose }).text).toMatch(
    /^[0-9]{3}-x$/,
  );
  expect(["war", "peace"]).toContain(await model.generate("Hi", { choices: ["war", "peace"], seed: 2 }).text);
  const { text } = await model.generate("Hi", { json: true, seed: 3, maxTokens: 20 }).result;
  expect(text.startsWith("{")).toBe(true);
});

test("the same seed gives the same answer, alone and among answers without a form", async () => {
  const ask = () => model.generate("The law", { pattern: "[a-z]{20}", seed: 7, ...loose }).text;
  const alone = await ask();
  const others = Array.from(
    { length: 6 },
    (_, seed) => model.generate("The law", { seed, maxTokens: 24 }).text,
  );
  const plain = await model.generate("The law", { seed: 3, maxTokens: 24 }).text;
  expect(await ask()).toBe(alone);
  expect((await Promise.all(others))[3]).toBe(plain);
});

test("what cannot be kept to, or not be completed, is an error", async () => {
  const code = (thrown: unknown) => (thrown as BitNetError).code;
  const generation = model.generate("Hi", { schema: { not: {} } });
  await expect(generation.result).rejects.toThrow("#/not");
  await expect(async () => {
    for await (const _ of model.generate("Hi", { schema: { not: {} } })) throw new Error("a piece");
  }).rejects.toThrow("#/not");
  const cut = model.generate("Hi", { schema: { type: "string", minLength: 90 }, maxTokens: 3 });
  expect(code(await cut.value.catch((error: unknown) => error))).toBe("ANSWER_INCOMPLETE");
  const signal = AbortSignal.abort();
  expect(
    code(await model.generate("Hi", { json: true, signal }).value.catch((error: unknown) => error)),
  ).toBe("ABORTED");
  expect(() => model.generate("Hi", { json: true, choices: ["a"] })).toThrow("one of schema");
  expect(() => model.generate("Hi", { pattern: /a/i })).toThrow("flags");
  expect(() => model.generate("Hi", { choices: "abc" as unknown as string[] })).toThrow("choices");
  expect(() => model.generate("Hi", { json: true, ignoreEos: true })).toThrow("ignoreEos");
});

/** Small, for the embedded model's context holds 256 tokens. */
const tools = [
  {
    name: "w",
    parameters: { type: "object", properties: { c: { enum: ["Rome", "Oslo"] } }, required: ["c"] },
  },
];

test("tools that must be called are called, and their results go back", async () => {
  const chat = model.createChat({ tools });
  const generation = chat.send("Hi", { toolChoice: "required", parallelToolCalls: false, seed: 4 });
  let streamed = "";
  for await (const piece of generation) streamed += piece.text;
  const { toolCalls, text } = await generation.result;
  expect(text).toBe("");
  expect(streamed).toBe("");
  expect(toolCalls?.map(({ id, name }) => [id, name])).toEqual([["call_1", "w"]]);
  expect(["Rome", "Oslo"]).toContain(toolCalls?.[0]?.arguments.c);
  expect(() => chat.sendToolResults([{ id: "call_7", content: "" }])).toThrow(
    "one result for each of call_1",
  );
  expect(chat.messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
  const answer = await chat.sendToolResults([{ id: "call_1", content: { sunny: true } }], {
    toolChoice: "none",
    maxTokens: 5,
  }).result;
  expect(answer.toolCalls ?? []).toEqual([]);
  expect(chat.messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
  expect(chat.messages[2]).toMatchObject({ tool_call_id: "call_1", name: "w", content: '{"sunny":true}' });
  expect(() => chat.sendToolResults([])).toThrow("has called nothing");
});

test("a named tool, no tools, and tools that are none", async () => {
  const chat = model.createChat();
  const named = await chat.send("Hi", { tools, toolChoice: { name: "w" }, seed: 1 }).result;
  expect(named.toolCalls?.length).toBe(1);
  chat.clear();
  const free = await chat.send("Hi", { tools, maxTokens: 6, seed: 1 }).result;
  expect(free.toolCalls).toEqual([]);
  expect(free.text).not.toBe("");
  expect(() => chat.send("Hi", { tools, toolChoice: { name: "x" } })).toThrow("the name of one of the tools");
  expect(() => model.createChat({ tools: [{ name: "a b" }] })).toThrow("tools[0].name");
  expect(() => model.createChat({ tools: [...tools, ...tools] })).toThrow("two of the name");
});
