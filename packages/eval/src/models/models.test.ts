/** Where continuations begin, what windows hold, what endpoints are asked, and that a stopped run goes on. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BitNet, type Tokenizer } from "bitnet.ts";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { perplexityReport } from "../perplexity.ts";
import { fixtures, plantedModel } from "../planted.test.kit.ts";
import { harnessJson } from "../report/harness-json.ts";
import { barsSvg, markdownTable } from "../report/tables.ts";
import { runTask } from "../run-eval.ts";
import { loadTask } from "../tasks/load-task.ts";
import { endpointModel } from "./endpoint-model.ts";
import { localModel } from "./local-model.ts";
import { encodePair } from "./split.ts";

const embedded = join(
  dirname(fileURLToPath(import.meta.url)),
  "..",
  "..",
  "..",
  "..",
  "test",
  "golden",
  "tiny.gguf",
);
let model: BitNet;
let tokenizer: Tokenizer;
beforeAll(async () => {
  model = await BitNet.load(embedded, { onNotice: () => {}, threads: 1 });
  tokenizer = model.tokenizer;
});
afterAll(() => model.dispose());

const pair = (context: string, continuation: string, contextLength = 256, bos = false) =>
  encodePair(tokenizer, context, continuation, { bos, contextLength });

describe("continuations", () => {
  it("begin where the context ends, and are never empty: the ids decode to the text", () => {
    const piece = fc.string({
      unit: fc.constantFrom("a", "the", " ", "1", "é", ".", "\n", "war"),
      maxLength: 12,
    });
    fc.assert(
      fc.property(piece, piece, (context, continuation) => {
        fc.pre(continuation !== "");
        const { ids, from } = pair(context, continuation, 256, true);
        expect(from).toBeGreaterThanOrEqual(1);
        expect(ids.length).toBeGreaterThan(from);
        expect(tokenizer.decode(ids.subarray(1))).toBe(context + continuation);
        expect(tokenizer.decode(ids.subarray(1, from))).toBe(context.trimEnd());
      }),
      { numRuns: 500 },
    );
  });

  it("take over the context's last spaces", () => {
    const { ids, from } = pair("The people ", "of");
    expect(tokenizer.decode(ids.subarray(from))).toBe(" of");
  });

  it("are encoded alone where a token spans the join", () => {
    const [context, continuation] = ["The peop", "le"];
    const { ids, from } = pair(context, continuation);
    expect([...ids]).toEqual([...tokenizer.encode(context), ...tokenizer.encode(continuation)]);
    expect(from).toBe(tokenizer.encode(context).length);
  });

  it("keep whole when the context is cut at its beginning; the beginning-of-text token stays", () => {
    const long = "one two three four five six seven eight nine ten ".repeat(3);
    const whole = pair(long, " people", 256, true);
    const cut = pair(long, " people", 12, true);
    expect(cut.ids).toHaveLength(12);
    expect(cut.ids[0]).toBe(tokenizer.bosId);
    expect([...cut.ids.subarray(1)]).toEqual([...whole.ids.subarray(-11)]);
    expect([...cut.ids.subarray(cut.from)]).toEqual([...whole.ids.subarray(whole.from)]);
    expect(() => pair("a", " people of the United States", 2)).toThrow(/holds 2/);
    expect(() => pair("a", "")).toThrow(/empty/);
  });

  it("get one beginning-of-text token, or none", () => {
    const count = (ids: Int32Array) => ids.filter((id) => id === tokenizer.bosId).length;
    expect([
      count(pair("a", " b", 256, true).ids),
      count(pair("a", " b").ids),
      count(pair("", " b").ids),
    ]).toEqual([1, 0, 1]);
  });
});

describe("a loaded model", () => {
  it("gives the bits of every request alone when contexts are shared and items run together", async () => {
    for (const name of ["arc_challenge", "winogrande"]) {
      const task = await loadTask(name, { folder: fixtures, chat: false, allowsCode: false });
      const shared = await runTask(localModel(model), task, { concurrency: 4 });
      const alone = await runTask(localModel(model, { sharesContexts: false }), task, { concurrency: 1 });
      expect(shared.items).toEqual(alone.items);
      expect(shared.scores).toEqual(alone.scores);
    }
  });

  it("scores the token after each position: a continuation's sum is that of its tokens one by one", async () => {
    const [context, continuation] = ["The people of the", " United States of America"];
    const [whole] = await localModel(model, { bos: true }).likelihoods([{ context, continuation }]);
    const { ids, from } = pair(context, continuation, 256, true);
    let sum = 0;
    for (let i = from; i < ids.length; i++) {
      const { logprobs } = await model.generate(ids.subarray(0, i), {
        maxTokens: 1,
        temperature: 0,
        repeatPenalty: 1,
        logprobs: 256,
      }).result;
      const found = logprobs?.[0]?.top.find(({ id }) => id === ids[i]);
      sum += found?.logprob ?? Number.NaN;
    }
    expect(whole?.nTokens).toBe(ids.length - from);
    expect(whole?.sum).toBe(sum);
  });

  it("tells perplexities that agree with each other", async () => {
    const text = "The people of the United States. ".repeat(100);
    const report = await perplexityReport(localModel(model), text, "rolling");
    expect(report.nTokens).toBe(tokenizer.encode(text).length);
    const perByte = report.bytePerplexity ?? Number.NaN;
    expect(report.bitsPerByte).toBeCloseTo(Math.log2(perByte), 10);
    const bytes = new TextEncoder().encode(text).length;
    expect(Math.log(report.tokenPerplexity) * report.nTokens).toBeCloseTo(Math.log(perByte) * bytes, 6);
    const chunks = await perplexityReport(localModel(model), text, "chunks");
    expect(chunks.nTokens).toBeLessThan(report.nTokens);
    await expect(perplexityReport(localModel(model), "short", "chunks")).rejects.toThrow(/at least 512/);
  });

  it("continues and answers", async () => {
    const local = localModel(model);
    const text = await local.answer({ prompt: "The people of the", stop: ["."], maxTokens: 8 });
    expect(text.length).toBeGreaterThan(0);
    expect(text).not.toContain(".");
    await local.answer({ prompt: [{ role: "user", content: "Hello" }], stop: [], maxTokens: 4 });
  });
});

describe("an endpoint", () => {
  it("is asked for echoed log-probabilities, of which those behind the join count", async () => {
    const bodies: Record<string, unknown>[] = [];
    const server = createServer((request, response) => {
      let text = "";
      request.on("data", (chunk) => {
        text += chunk;
      });
      request.on("end", () => {
        bodies.push(JSON.parse(text) as Record<string, unknown>);
        const isChat = request.url === "/v1/chat/completions";
        const choice = isChat
          ? { message: { content: "four### and more" } }
          : { text: "ab cd!", logprobs: { token_logprobs: [null, -1, -2, -4], text_offset: [0, 1, 2, 5] } };
        response.end(JSON.stringify({ choices: [choice] }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/`;
    try {
      const remote = endpointModel({ url, model: "m" });
      const found = await remote.likelihoods([{ context: "ab", continuation: " cd" }]);
      expect(found).toEqual([{ sum: -2, nTokens: 1 }]);
      expect(bodies[0]).toMatchObject({ model: "m", prompt: "ab cd", echo: true, logprobs: 1 });
      const prompt = [{ role: "user", content: "2 + 2" }];
      expect(await remote.answer({ prompt, stop: ["a", "b", "c", "d", "###"], maxTokens: 5 })).toBe("four");
      await expect(perplexityReport(remote, "text", "rolling")).rejects.toThrow(/endpoint/);
    } finally {
      server.closeAllConnections();
      server.close();
    }
    await expect(
      endpointModel({ url, model: "m" }).likelihoods([{ context: "a", continuation: "b" }]),
    ).rejects.toThrow(/cannot be reached/);
  });
});

describe("a run", () => {
  it("that was stopped goes on where it stood, also behind a line that was cut short", async () => {
    const folder = mkdtempSync(join(tmpdir(), "bitnet-eval-test-"));
    try {
      const task = await loadTask("arc_easy", { folder: fixtures, chat: false, allowsCode: false });
      const itemsPath = join(folder, "items.jsonl");
      let asked = 0;
      const counting = (limit: number) => {
        const planted = plantedModel(task, true);
        return {
          ...planted,
          likelihoods: (requests: Parameters<typeof planted.likelihoods>[0]) => {
            if (++asked > limit) throw new Error("stopped");
            return planted.likelihoods(requests);
          },
        };
      };
      await expect(runTask(counting(2), task, { itemsPath, concurrency: 1 })).rejects.toThrow("stopped");
      appendFileSync(itemsPath, '{"id":"arc-e/9","jud');
      asked = 0;
      const result = await runTask(counting(100), task, { itemsPath, concurrency: 1 });
      expect(asked).toBe(task.items.length - 2);
      expect(result.scores.acc?.value).toBe(1);
      expect(readFileSync(itemsPath, "utf8").trim().split("\n")).toHaveLength(1 + task.items.length);
      // Another model's items are not taken over.
      asked = 0;
      await runTask({ ...counting(100), name: "other" }, task, { itemsPath });
      expect(asked).toBe(task.items.length);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("is reported as the harness does, and as tables for people", async () => {
    const task = await loadTask("arc_easy", { folder: fixtures, chat: false, allowsCode: false });
    const planted = plantedModel(task, true);
    const result = await runTask(planted, task, { limit: 3 });
    const json = harnessJson(planted, [result], new Date(0)) as Record<
      string,
      Record<string, Record<string, unknown>>
    >;
    expect(json.results?.arc_easy).toMatchObject({ "acc_norm,none": 1, "acc_norm_stderr,none": 0 });
    expect(json["n-samples"]?.arc_easy).toEqual({ original: task.items.length, effective: 3 });
    expect(markdownTable([result])).toContain(
      `| arc_easy | 3 of ${task.items.length} | **acc_norm** | 100.00 ± 0.00 |`,
    );
    expect(barsSvg([result], "a<b")).toContain("a&lt;b");
  });
});
