/**
 * Answers in a form, calls of tools, tokenizer and template on a page: the same values as in Node, on isolated pages and on others, with the model
 * in a worker and on the page itself. Needs the built package, and Debian's chromium and firefox-esr.
 */
import { readFileSync } from "node:fs";
import { BitNet } from "bitnet.ts";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LibraryPage, serveLibraryPage } from "./library-page.ts";
import { tinyModel } from "./packed-project.ts";
import { browserNames, isBrowserMissing, openPage, startBrowser } from "./web-page.ts";

/** Runs here and, as text, on the page. */
async function askAll(model: BitNet) {
  const options = { seed: 3, maxTokens: 80, temperature: 1.2, repeatPenalty: 1.3 };
  const schema = {
    type: "object",
    properties: { name: { type: "string", maxLength: 8 }, age: { type: "integer", minimum: 0, maximum: 99 } },
    required: ["name", "age"],
    additionalProperties: false,
  } as const;
  const [person, anything, date, word, plain] = await Promise.all([
    model.generate("A person:", { ...options, schema }).value,
    model.generate("Facts:", { ...options, json: true, maxTokens: 6 }).text,
    model.generate("It was", { ...options, pattern: /[0-9]{4}-[0-9]{2}/ }).text,
    model.generate("Is it?", { ...options, choices: ["yes", "no", "perhaps"] }).text,
    model.generate("The people", { ...options, maxTokens: 12 }).text,
  ]);
  const tools = [{ name: "weather", parameters: schema }, { name: "clock" }];
  const chat = model.createChat({ tools });
  const call = chat.send("What time is it?", { ...options, toolChoice: { name: "clock" } });
  const { toolCalls = [] } = await call.result;
  const results = toolCalls.map(({ id }) => ({ id, content: "noon" }));
  const said = await chat.sendToolResults(results, { ...options, maxTokens: 8, toolChoice: "none" }).text;
  const refused = await model
    .generate("x", { schema: { not: {} } })
    .text.catch((error: { code: string; message: string }) => [error.code, error.message]);
  const ids = model.tokenizer.encode("Peace and 平和", { bos: true });
  const messages = [{ role: "user", content: "Hi" }];
  return {
    ...{ person, anything, date, word, plain, toolCalls, said, refused },
    messages: chat.messages,
    ids: Array.from(ids),
    decoded: model.tokenizer.decode(ids),
    prompt: model.template.render({ messages, addGenerationPrompt: true, bosToken: "<s>", eosToken: "</s>" }),
  };
}

const script = `
  import { BitNet } from "bitnet.ts";
  const askAll = ${askAll.toString()};
  globalThis.run = async (options) => {
    const worker = () => new Worker("/worker/worker.js", { type: "module" });
    const model = await BitNet.load("/tiny.gguf", { cache: false, worker, ...options });
    const { backend, threads } = model.info;
    const found = await askAll(model).catch((error) => String(error));
    await model.dispose();
    globalThis.answer = JSON.stringify({ backend, threads, found });
  };
`;

let server: LibraryPage;
let expected: Awaited<ReturnType<typeof askAll>>;

beforeAll(async () => {
  const model = await BitNet.load(tinyModel);
  expected = await askAll(model);
  await model.dispose();
  server = await serveLibraryPage(script, (request, response) => {
    if (request.url !== "/tiny.gguf") return false;
    response.end(readFileSync(tinyModel));
    return true;
  });
}, 120_000);
afterAll(() => server?.close());

test("the values themselves", () => {
  expect(expected.person).toMatchObject({ name: expect.any(String), age: expect.any(Number) });
  expect(expected.anything).toMatch(/^\{/);
  expect(expected.date).toMatch(/^\d{4}-\d{2}$/);
  expect(["yes", "no", "perhaps"]).toContain(expected.word);
  expect(expected.toolCalls).toEqual([{ id: "call_1", name: "clock", arguments: {} }]);
  expect(expected.refused).toEqual(["INVALID_ARGUMENT", expect.stringMatching(/#\/not: this keyword/)]);
});

describe.each(browserNames)("%s", (name) => {
  const isMissing = isBrowserMissing(name);
  let browser: Browser;
  beforeAll(async () => {
    if (!isMissing) browser = await startBrowser(name);
  }, 150_000);
  afterAll(() => browser?.close());

  // Every visit starts and ends some ten workers, most of them by other workers; it is by repetition that one would be seen to hang.
  const often = name === "firefox" ? 4 : 1;

  test.skipIf(isMissing).each<[string, string, object, number]>([
    ["on an isolated page", "/isolated", { threads: 2 }, often],
    ["on a page that is not", "/", {}, 1],
    ["with the model on the page itself", "/", { worker: false, wasmUrl: "/worker", backend: "wasm" }, 1],
  ])(
    "%s",
    async (_, path, options, nVisits) => {
      const { page, problems } = await openPage(browser);
      for (let visit = 0; visit < nVisits; visit++) {
        await page.goto(server.url + path);
        await page.waitForFunction("typeof run === 'function'");
        await page.evaluate(`void run(${JSON.stringify(options)})`);
        await page.waitForFunction("typeof answer === 'string'", { timeout: 60_000, polling: 200 });
        const answer = await page.evaluate("answer");
        const { backend, threads, found } = JSON.parse(String(answer)) as Record<string, unknown>;
        expect([backend, threads]).toEqual(["wasm", path === "/isolated" ? 2 : 1]);
        expect(found).toEqual(expected);
      }
      expect(problems).toEqual([]);
      await page.close();
    },
    240_000,
  );
});
