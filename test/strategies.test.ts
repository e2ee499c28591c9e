/** The ways to run a model: our own engines for real, those of others as fakes: a program, servers, and libraries of a project. */
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNet, backendReport, embeddedModelPath } from "bitnet.ts";
import {
  chooseStrategy,
  examineStrategies,
  recommend,
  type StrategiesReport,
  type StrategyReport,
  strategyPrompts,
} from "bitnet.ts/strategies";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bitnet } from "./cli-process.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-strategies-"));
const [prompt, timedPrompt] = strategyPrompts;
/** Of the first prompt, and of all. */
let expected = "";
const texts: Record<string, string> = {};
/** The reference takes long. */
let measure = "reference";
/** What comes after each text of the first two prompts, by its tokens. */
const next: Record<string, number> = {};
let server: Server;
let base = "";
/** What the server that stands for llama-server makes of an answer. */
let spoil: (text: string, asked: string) => { pieces: string[]; said?: number } = (text) => ({
  pieces: [...text],
});
let vocabSize = 0;

/** The prompt that a request holds. */
async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const piece of request.setEncoding("utf8")) text += piece;
  return (JSON.parse(text) as { prompt: string }).prompt;
}

/** What an OpenAI server and llama-server say. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const { url = "" } = request;
  if (request.method === "GET") {
    const isOpen = url !== "/closed/v1/models";
    response.writeHead(isOpen ? 200 : 401).end("{}");
  } else if (url === "/v1/completions" || url === "/deaf/v1/completions" || url === "/echo/v1/completions") {
    void bodyOf(request).then((asked) => {
      const pieces = {
        "/v1/completions": ["Once", " upon", ` ${asked.length}`, ""],
        "/deaf/v1/completions": ["Once"],
        "/echo/v1/completions": [asked, asked],
      }[url];
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const text of pieces ?? [])
        response.write(`data: ${JSON.stringify({ choices: [{ text }] })}\r\n\r\n`);
      response.end('data: {"choices":[]}\n\ndata: [DONE]\n\n');
    });
  } else if (url === "/flood/v1/completions") {
    response.writeHead(200);
    const line = `data: ${JSON.stringify({ choices: [{ text: "x".repeat(65_536) }] })}\n\n`;
    const write = () => {
      while (!response.destroyed && response.write(line));
    };
    response.on("drain", write);
    write();
  } else if (url === "/silent/v1/completions") {
    response.writeHead(200).flushHeaders();
  } else if (url === "/completion") {
    void bodyOf(request).then((asked) => {
      const { pieces, said = 321 } = spoil(texts[asked] ?? "", asked);
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const content of pieces) response.write(`data: ${JSON.stringify({ content, stop: false })}\n\n`);
      const timings = { prompt_ms: 0, predicted_per_second: said };
      response.end(`data: ${JSON.stringify({ content: "", stop: true, timings })}\n\n`);
    });
  } else response.writeHead(404).end("nothing here");
}

beforeAll(async () => {
  const model = await BitNet.load(embeddedModelPath(), { backend: "reference" });
  for (const each of strategyPrompts) {
    const { text, ids } = await model.generate(each, {
      ...{ maxTokens: 16, temperature: 0, repeatPenalty: 1, ignoreEos: true },
    }).result;
    texts[each] = text;
    const all = [...model.tokenizer.encode(each, { bos: model.tokenizer.addBos })];
    for (const id of ids) {
      next[all.join()] = id;
      all.push(id);
    }
  }
  expected = texts[prompt] ?? "";
  vocabSize = model.info.vocabSize;
  await model.dispose();
  if ((await backendReport()).some(({ name, isAvailable }) => name === "native" && isAvailable))
    measure = "native";
  server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

function program(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** A program that answers each prompt, which is its fourth argument. */
function answering(name: string, textOf: (prompt: string) => string, more = ""): string {
  const cases = [prompt, timedPrompt].map((each) => `${quoted(each)}) printf %s ${quoted(textOf(each))};;`);
  return program(name, `case "$4" in ${cases.join(" ")} esac; ${more}`);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function library(name: string, text: string, exports: unknown = { ".": { import: "./index.mjs" } }): void {
  const root = join(folder, "node_modules", name);
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "package.json"), JSON.stringify({ name, version: "9.9.9", exports }));
  writeFileSync(join(root, "index.mjs"), text);
}

/** With the engine that the others are compared with. */
const beside = (...names: string[]) => ({ only: [measure, ...names] });

async function examine(
  more: Partial<Parameters<typeof examineStrategies>[0]> = {},
): Promise<StrategiesReport & { of(name: string): StrategyReport }> {
  const report = await examineStrategies({ model: embeddedModelPath(), project: folder, ...more });
  return {
    ...report,
    of(name) {
      const found = report.strategies.find((each) => each.name === name);
      if (found === undefined) throw new Error(`no strategy ${name}`);
      return found;
    },
  };
}

test("own engines run and are measured; what is not there says so", async () => {
  const report = await examine();
  expect(report.of("reference")).toMatchObject({ verdict: "equal", text: expected });
  const native = report.of("native");
  if (native.verdict !== "unavailable") {
    expect(native).toMatchObject({ verdict: "equal", text: expected });
    for (const value of [
      native.loadMs,
      native.firstTokenMs,
      native.tokensPerSecond,
      native.parallelTokensPerSecond,
    ])
      expect(value).toBeGreaterThan(0);
    expect(native.memoryBytes).toBeGreaterThan(100_000);
  }
  expect(report.of("webgpu")).toMatchObject({
    verdict: "unavailable",
    detail: expect.stringContaining("webgpu"),
  });
  for (const name of ["bitnet.cpp", "transformers.js", "onnx runtime", "node-llama-cpp", "openai endpoint"])
    expect(report.of(name)).toMatchObject({ verdict: "unavailable", text: null });
  expect(report.comparedWith).toBe("reference");
  const fastest = report.strategies.toSorted(
    (a, b) => (b.tokensPerSecond ?? 0) - (a.tokensPerSecond ?? 0),
  )[0];
  expect(report.chosen).toBe(fastest?.name);
  expect(report.recommendations.map(({ useCase }) => useCase)).toEqual([
    "production",
    "development",
    "mobile",
    "research",
    "edge",
    "cloud",
  ]);
});

test("bitnet.cpp as a program: its text, its own figures, and its failures", async () => {
  const log = [
    "llama_perf_context_print: prompt eval time =      25.00 ms /     6 tokens (    4.17 ms per token,   240.00 tokens per second)",
    "llama_perf_context_print:        eval time =     100.00 ms /    15 runs   (    6.67 ms per token,   150.00 tokens per second)",
  ].join("\n");
  const path = answering(
    "llama-cli",
    (each) => ` ${each}${texts[each]}\n`,
    `echo "$@" > ${quoted(join(folder, "arguments"))}; printf %s ${quoted(log)} >&2`,
  );
  const found = (await examine({ ...beside("bitnet.cpp"), bitnetCpp: path, threads: 3 })).of("bitnet.cpp");
  expect(found).toMatchObject({
    ...{ verdict: "equal", text: expected, firstTokenMs: expect.any(Number) },
    detail: expect.stringContaining("says 150.0 tokens/s itself"),
  });
  expect(found.tokensPerSecond).not.toBe(150);
  expect(readFileSync(join(folder, "arguments"), "utf8").trim()).toBe(
    `-m ${embeddedModelPath()} -p ${timedPrompt} -n 16 -t 3 --temp 0 --ignore-eos -no-cnv`,
  );
  expect(found).toMatchObject({ memoryBytes: null, parallelTokensPerSecond: null });

  const half = answering("half", (each) => {
    const text = texts[each] ?? "";
    return `${each}${text.slice(0, Math.ceil(text.length * 0.7))} else`;
  });
  expect((await examine({ ...beside("bitnet.cpp"), bitnetCpp: half })).of("bitnet.cpp").verdict).toBe(
    "alike",
  );
  const wrong = answering("wrong", (each) => `${each} quite something else`);
  expect((await examine({ ...beside("bitnet.cpp"), bitnetCpp: wrong })).of("bitnet.cpp").verdict).toBe(
    "wrong",
  );
  const broken = program("broken", "echo 'cannot load the model' >&2; exit 3");
  expect((await examine({ ...beside("bitnet.cpp"), bitnetCpp: broken })).of("bitnet.cpp")).toMatchObject({
    verdict: "failed",
    detail: expect.stringMatching(/ended with 3: cannot load the model/),
  });
  expect(
    (await examine({ ...beside("bitnet.cpp"), bitnetCpp: join(folder, "none") })).of("bitnet.cpp").verdict,
  ).toBe("unavailable");
});

test("one that hangs is given up after its time", async () => {
  const hanging = program("hanging", "exec sleep 1000");
  const report = await examine({
    ...{ only: ["bitnet.cpp", "openai endpoint"], bitnetCpp: hanging },
    ...{ endpoint: `${base}/silent/v1`, timeoutMs: 500 },
  });
  expect(report.of("bitnet.cpp")).toMatchObject({
    verdict: "failed",
    detail: expect.stringContaining("longer than 0.5 s"),
  });
  expect(report.of("openai endpoint")).toMatchObject({ verdict: "failed" });
  expect(report.chosen).toBeNull();
});

test("servers: llama-server's form, OpenAI's, one that is closed and one that never stops", async () => {
  const report = await examine({
    ...beside("bitnet.cpp", "openai endpoint"),
    bitnetCpp: base,
    endpoint: `${base}/v1/`,
    endpointModel: "other",
  });
  expect(report.of("bitnet.cpp")).toMatchObject({
    ...{ verdict: "equal", firstTokenMs: expect.any(Number) },
    detail: expect.stringContaining("says 321.0 tokens/s itself"),
  });
  expect(report.of("openai endpoint")).toMatchObject({
    verdict: "answers",
    text: `Once upon ${prompt.length}`,
    detail: "other",
  });
  expect(report.of("openai endpoint").parallelTokensPerSecond).toBeGreaterThan(0);
  const closed = await examine({ only: ["openai endpoint"], endpoint: `${base}/closed/v1` });
  expect(closed.of("openai endpoint")).toMatchObject({
    verdict: "unavailable",
    detail: expect.stringContaining("401"),
  });
  const flood = await examine({ only: ["openai endpoint"], endpoint: `${base}/flood/v1` });
  expect(flood.of("openai endpoint")).toMatchObject({
    ...{ verdict: "failed", detail: expect.stringContaining("longer than 4194304 bytes") },
  });
});

test("libraries of the project", async () => {
  library(
    "@huggingface/transformers",
    `export const pipeline = async (task, model) => Object.assign(
       async (prompt, options) => [{ generated_text: [task, model, options.max_new_tokens, prompt].join(" ") }], {});`,
  );
  library(
    "node-llama-cpp",
    `export const getLlama = async () => ({ loadModel: async ({ modelPath }) => ({
       createContext: async () => ({ getSequence: () => ({}) }), dispose: async () => {} }) });
     const texts = ${JSON.stringify(texts)};
     export class LlamaCompletion {
       async generateCompletion(prompt, { onTextChunk }) { onTextChunk(texts[prompt]); return texts[prompt]; } }`,
    "./index.mjs",
  );
  // Knows what comes after each text: the model's own tokens.
  library(
    "onnxruntime-node",
    `const next = ${JSON.stringify(next)};
     export class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
     export const InferenceSession = { create: async (path) => ({
       inputNames: path.includes("past") ? ["input_ids", "past_key_values.0.key"] : ["input_ids", "attention_mask"],
       outputNames: ["logits"],
       run: async ({ input_ids, attention_mask }) => {
         const n = input_ids.data.length, data = new Float32Array(n * ${vocabSize});
         if (!attention_mask.data.every((one) => one === 1n)) throw new Error("a mask with holes");
         data[(n - 1) * ${vocabSize} + next[[...input_ids.data].join()]] = 5;
         return { logits: { data, dims: [1, n, ${vocabSize}] } };
       } }) };`,
    { ".": [{ node: { import: "./index.mjs" } }] },
  );
  const report = await examine({
    ...beside("transformers.js", "node-llama-cpp", "onnx runtime"),
    transformers: "some/model",
    onnx: "tiny.onnx",
  });
  expect(report.of("transformers.js")).toMatchObject({
    verdict: "answers",
    text: `text-generation some/model 16 ${prompt}`,
    firstTokenMs: null,
  });
  expect(report.of("transformers.js").tokensPerSecond).toBeGreaterThan(0);
  expect(report.of("node-llama-cpp")).toMatchObject({
    verdict: "equal",
    text: expected,
    firstTokenMs: expect.any(Number),
  });
  expect(report.of("onnx runtime")).toMatchObject({ verdict: "equal", text: expected });
  const past = await examine({ only: ["onnx runtime", "transformers.js"], onnx: "past.onnx" });
  expect(past.of("onnx runtime")).toMatchObject({
    verdict: "failed",
    detail: expect.stringContaining("past_key_values"),
  });
  expect(past.of("transformers.js")).toMatchObject({
    verdict: "unavailable",
    detail: "no model for it was named",
  });
});

test("engines that lie about themselves: speed is what the clock says, and one wrong text is enough", async () => {
  const honest = (text: string) => ({ pieces: [...text] });
  const lies: Record<string, [typeof spoil, StrategyReport["verdict"]]> = {
    "claims a speed that nothing has": [(text) => ({ ...honest(text), said: 1e12 }), "equal"],
    "streams everything at the end": [(text) => ({ pieces: [text] }), "equal"],
    "streams nothing": [() => ({ pieces: [] }), "wrong"],
    "repeats the prompt": [(_text, asked) => ({ pieces: [asked] }), "wrong"],
    "repeats the prompt before its text": [(text, asked) => ({ pieces: [asked, text] }), "wrong"],
    "is right at first": [(text, asked) => honest(asked === prompt ? text : "quick and wrong"), "wrong"],
    "goes on beyond the text": [(text) => honest(`${text}${" and so on".repeat(100)}`), "wrong"],
  };
  for (const [name, [lie, verdict]] of Object.entries(lies)) {
    spoil = lie;
    const report = await examine({ ...beside("bitnet.cpp"), bitnetCpp: base });
    const { firstTokenMs, tokensPerSecond, ...found } = report.of("bitnet.cpp");
    expect([name, found.verdict]).toEqual([name, verdict]);
    if (verdict === "wrong") {
      expect([name, report.chosen]).toEqual([name, measure]);
      expect(report.recommendations.map(({ strategy }) => strategy)).not.toContain("bitnet.cpp");
    } else {
      // Sixteen tokens at most, and no sooner than the first of them.
      expect(tokensPerSecond).toBeLessThanOrEqual(16_000 / (firstTokenMs ?? 0));
      expect(tokensPerSecond).toBeLessThan(1e6);
    }
    if (name.startsWith("claims")) expect(found.detail).toMatch(/says 1000000000000.0 tokens\/s itself/);
  }
  spoil = honest;
  for (const name of ["deaf", "echo"]) {
    const report = await examine({ only: ["openai endpoint"], endpoint: `${base}/${name}/v1` });
    expect([name, report.of("openai endpoint").verdict, report.chosen]).toEqual([name, "wrong", null]);
  }
  const endless = program("endless", "exec yes");
  const flood = await examine({ only: ["bitnet.cpp"], bitnetCpp: endless });
  expect(flood.of("bitnet.cpp")).toMatchObject({
    ...{ verdict: "failed", detail: expect.stringContaining("wrote more than 1048576 characters") },
  });
  expect(flood.of("bitnet.cpp").tokensPerSecond).toBeNull();
});

function measured(name: string, more: Partial<StrategyReport>): StrategyReport {
  const nothing = { firstTokenMs: 10, tokensPerSecond: 10, parallelTokensPerSecond: 20, memoryBytes: 100e6 };
  return { name, verdict: "equal", detail: "", text: "x", loadMs: 100, ...nothing, ...more };
}

test("choice and recommendations follow from what was measured", () => {
  const reports = [
    measured("wrong", {
      verdict: "wrong",
      tokensPerSecond: 1e6,
      parallelTokensPerSecond: 1e6,
      loadMs: 0,
      memoryBytes: 1,
    }),
    measured("small", { memoryBytes: 10e6, tokensPerSecond: 8 }),
    measured("quick", { loadMs: 1, firstTokenMs: 1, tokensPerSecond: 5, memoryBytes: null }),
    measured("fast", { tokensPerSecond: 50, memoryBytes: 600e6 }),
    measured("alike", {
      verdict: "alike",
      tokensPerSecond: 90,
      parallelTokensPerSecond: 300,
      memoryBytes: 2e9,
    }),
    measured("remote", { verdict: "answers", parallelTokensPerSecond: 900, memoryBytes: null }),
  ];
  expect(chooseStrategy(reports)?.name).toBe("fast");
  expect(chooseStrategy(reports.filter(({ verdict }) => verdict !== "equal"))?.name).toBe("alike");
  expect(chooseStrategy([measured("wrong", { verdict: "wrong" })])).toBeNull();
  const named = Object.fromEntries(recommend(reports).map(({ useCase, strategy }) => [useCase, strategy]));
  expect(named).toEqual({
    ...{
      production: "alike",
      development: "quick",
      mobile: "small",
      research: "fast",
      edge: "small",
      cloud: "remote",
    },
  });
  expect(recommend(reports)[0]?.reason).toContain("300.0 tokens/s");
  expect(recommend([]).every(({ strategy, reason }) => strategy === null && reason.includes("nothing"))).toBe(
    true,
  );
});

test("bitnet doctor --engines", async () => {
  const { status, stdout } = await bitnet(["doctor", "--engines", "--project", folder]);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^engine +verdict/);
  expect(stdout).toMatch(/^reference +equal/m);
  expect(stdout).toMatch(/^not here: webgpu/m);
  expect(stdout).toMatch(/^Chosen: \S+/m);
  expect(stdout).toMatch(/^research +\S+ +equal to the reference at/m);
  const json = await bitnet(["doctor", "--engines", "wasm, openai endpoint", "--json", "--project", folder]);
  expect((JSON.parse(json.stdout) as StrategiesReport).strategies.length).toBe(2);
  const strange = await bitnet(["doctor", "--engines", "abacus"]);
  expect(strange.stderr).toMatch(/engine "abacus" does not exist; valid names: reference, native/);
  const stray = await bitnet(["doctor", "--onnx", "x"]);
  expect(stray.status).toBe(1);
  expect(stray.stderr).toContain("--onnx is about engines; add --engines");
});
