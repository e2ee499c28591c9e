/** Grammars on the embedded model: whatever it would rather say, its answers have the form that was asked for. */

import { GrammarCompiler, type GrammarSpec } from "@bitnet.ts/grammar";
import { Ajv2020 } from "ajv/dist/2020.js";
import { BitNet } from "bitnet.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tinyModel } from "./cli-process.ts";

let model: BitNet;
let compiler: GrammarCompiler;
beforeAll(async () => {
  model = await BitNet.load(tinyModel);
  compiler = new GrammarCompiler(model.tokenizer, { vocabSize: model.info.vocabSize });
});
afterAll(async () => {
  await compiler.dispose();
  await model.dispose();
});

async function answer(spec: GrammarSpec, seed: number, maxTokens = 200) {
  const grammar = await compiler.compile(spec);
  const options = {
    seed,
    temperature: 1.2,
    topP: 1,
    maxTokens,
    repeatPenalty: 1.3,
    mask: grammar.createMask(),
  };
  return model.generate("The state of", options).result;
}

const schemas: Record<string, object> = {
  "a flat object": {
    type: "object",
    properties: {
      name: { type: "string", maxLength: 12 },
      age: { type: "integer", minimum: 0, maximum: 150 },
      ok: { type: "boolean" },
    },
    required: ["name", "age", "ok"],
    additionalProperties: false,
  },
  "nested lists and unions": {
    type: "object",
    properties: {
      tags: { type: "array", items: { enum: ["war", "peace", "law"] }, minItems: 1, maxItems: 3 },
      value: { anyOf: [{ type: "null" }, { type: "integer", minimum: 0, maximum: 9 }] },
      when: { type: "string", pattern: "^[0-9]{4}-[0-9]{2}$" },
    },
    required: ["tags", "value", "when"],
  },
  "values of any type": {
    type: "object",
    properties: {
      flag: { type: "boolean" },
      list: { type: "array", items: { enum: [true, null, [1], { a: 2 }] }, maxItems: 2 },
    },
    required: ["flag", "list"],
  },
  definitions: {
    type: "object",
    properties: {
      pair: {
        type: "array",
        prefixItems: [{ $ref: "#/$defs/word" }, { const: 7 }],
        items: false,
        minItems: 2,
      },
    },
    required: ["pair"],
    $defs: { word: { type: "string", minLength: 2, maxLength: 5 } },
  },
};

test.each(Object.entries(schemas))(
  "%s: every seed gives a valid value, also beside unmasked requests",
  async (_, schema) => {
    const validate = new Ajv2020({ strict: false }).compile(schema);
    const plain = { seed: 99, maxTokens: 60 };
    const alone = await model.generate("The people", plain).result;
    const neighbour = model.generate("The people", plain).result;
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, seed) => answer({ kind: "schema", schema }, seed)),
    );
    for (const { text, stopReason } of results) {
      expect(stopReason, text).toBe("eos");
      expect(validate(JSON.parse(text)), `${text} ${JSON.stringify(validate.errors)}`).toBe(true);
    }
    expect(new Set(results.map(({ text }) => text)).size).toBeGreaterThan(1);
    expect((await neighbour).text).toBe(alone.text);
    expect((await answer({ kind: "schema", schema }, 3)).text).toBe(results[3]?.text);
  },
);

test("any JSON object, patterns and choices", async () => {
  for (let seed = 0; seed < 6; seed++) {
    const { text, stopReason } = await answer({ kind: "json" }, seed);
    expect(text).not.toMatch(/[ \n\t]{3}/);
    if (stopReason === "eos") expect(typeof JSON.parse(text)).toBe("object");
    else expect(text.startsWith("{")).toBe(true);
    expect((await answer({ kind: "regex", pattern: "[A-C]{2}-[0-9]{3}" }, seed)).text).toMatch(
      /^[A-C]{2}-[0-9]{3}$/,
    );
    const choices = ["yes", "no", 'per"haps\n', "süß"];
    expect(choices).toContain((await answer({ kind: "choice", choices }, seed)).text);
  }
});

test("calls of tools: forced ones are there and valid", async () => {
  const parameters = { type: "object", properties: { city: { enum: ["Rome", "Oslo"] } }, required: ["city"] };
  const spec = (mustCall: boolean, several: boolean): GrammarSpec => ({
    kind: "calls",
    begin: "<tool_call>",
    end: "</tool_call>",
    tools: [{ name: "weather", parameters }],
    mustCall,
    several,
  });
  const { text } = await answer(spec(true, false), 1);
  expect(text).toMatch(
    /^<tool_call>\{"name": "weather", "arguments": \{ ?"city" ?: ?"(Rome|Oslo)" ?\}\}<\/tool_call>$/,
  );
  const free = await answer(spec(false, true), 1, 40);
  expect(free.text.length).toBeGreaterThan(5);
});

test("of many tools each has its own arguments, whatever their schemas share", async () => {
  const tool = (i: number) => ({
    name: `tool "${i}"`,
    parameters: {
      type: "object",
      properties: { [`key${i}`]: { $ref: "#/$defs/Kind-1.of" }, note: { type: "string" } },
      required: [`key${i}`],
      additionalProperties: false,
      $defs: { "Kind-1.of": { enum: [i, `v${i}`] } },
    },
  });
  const tools = Array.from({ length: 80 }, (_, i) => tool(i));
  const marks = { begin: "<call>", end: "</call>" };
  const grammar = await compiler.compile({ kind: "calls", tools, mustCall: true, several: false, ...marks });
  const call = (name: number, key: number, value: string) =>
    `<call>{"name": "tool \\"${name}\\"", "arguments": {"key${key}":${value}}}</call>`;
  const isAllowed = async (text: string): Promise<boolean> => {
    const mask = grammar.createMask();
    try {
      for (const id of model.tokenizer.encode(text)) {
        await mask.ready?.();
        const bits = mask.allowed()?.[id >> 5] ?? 0;
        if (((bits >>> (id & 31)) & 1) === 0) return false;
        mask.accept(id);
      }
      return true;
    } finally {
      mask.dispose();
    }
  };
  expect(await isAllowed(call(7, 7, "7"))).toBe(true);
  expect(await isAllowed(call(79, 79, '"v79"'))).toBe(true);
  expect(await isAllowed(call(7, 8, "7"))).toBe(false);
  expect(await isAllowed(call(7, 7, "8"))).toBe(false);
});

test("what cannot be compiled is an error, and the compiler goes on", async () => {
  await expect(compiler.compile({ kind: "schema", schema: { not: {} } })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  await expect(compiler.compile({ kind: "choice", choices: [] })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  const slow = new GrammarCompiler(model.tokenizer, { deadlineMs: 1 });
  await expect(slow.compile({ kind: "schema", schema: { type: "string", maxLength: 9000 } })).rejects.toThrow(
    /took longer/,
  );
  await slow.dispose();
  expect((await answer({ kind: "choice", choices: ["on"] }, 1)).text).toBe("on");
});
