/** `bitnet run` and `bitnet chat` from outside: the golden answers, prompts from everywhere, and every way to end early. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bitnet, bitnetJson, goldenFolder, tinyModel } from "./cli-process.ts";

interface GoldenPrompt {
  text: string;
  ids: number[];
  prompt_logprobs: number[];
  greedy_ids: number[];
  greedy_margins: number[];
  greedy_text: string;
}

interface Logprob {
  id: number;
  text: string;
  logprob: number;
}

interface RunResult {
  source: string;
  backend: string;
  isa: string;
  threads: number;
  promptIds: number[];
  ids: number[];
  text: string;
  stopReason: string;
  cachedTokens: number;
  loadMs: number;
  logprobs?: (Logprob & { top: Logprob[] })[];
  promptLogprobs?: ((Logprob & { top: Logprob[] }) | null)[];
  timings: Record<string, number>;
  seed: number;
}

const golden = JSON.parse(readFileSync(`${goldenFolder}/golden.json`, "utf8")) as { prompts: GoldenPrompt[] };
const greedy = ["--kv", "f32", "--temp", "0", "--repeat-penalty", "1"];
const run = (...args: string[]) => bitnetJson<RunResult>(["run", ...args]);

/** Ids up to the first step where another implementation may rightly choose differently. */
function certainIds({ greedy_ids, greedy_margins }: GoldenPrompt): number[] {
  const at = greedy_margins.findIndex((margin) => margin <= 0.01);
  return at < 0 ? greedy_ids : greedy_ids.slice(0, at);
}

function promptOf(text: string): GoldenPrompt {
  const found = golden.prompts.find((prompt) => prompt.text === text);
  if (found === undefined) throw new Error(`no golden prompt ${JSON.stringify(text)}`);
  return found;
}

const unitedStates = promptOf("The United States");

describe("golden answers", () => {
  it.each(golden.prompts.map((prompt) => [prompt.text, prompt] as const))(
    "of test/golden/tiny.gguf: %j",
    async (text, prompt) => {
      const result = await run("-m", tinyModel, "-p", text, "-n", "40", "--prompt-logprobs", ...greedy);
      const certain = certainIds(prompt);
      expect(certain.length).toBeGreaterThan(4);
      expect(result.promptIds).toEqual(prompt.ids);
      expect(result.ids.slice(0, certain.length)).toEqual(certain);
      if (certain.length === 40) expect(result.text).toBe(prompt.greedy_text);
      expect(result.stopReason).toBe("length");
      expect(result.promptLogprobs?.[0]).toBeNull();
      prompt.prompt_logprobs.forEach((logprob, i) => {
        expect(Math.abs((result.promptLogprobs?.[i + 1]?.logprob ?? 0) - logprob)).toBeLessThan(0.1);
      });
    },
  );

  it.each(["hf-packed", "hf-bf16", "tiny-tq1_0.gguf", "tiny-tq2_0.gguf"])("of %s", async (name) => {
    const prompt = promptOf("Fellow citizens of the Senate and House");
    const result = await run("-m", `${goldenFolder}/${name}`, "-p", prompt.text, "-n", "40", ...greedy);
    expect(result.promptIds).toEqual(prompt.ids);
    const certain = certainIds(prompt);
    expect(result.ids.slice(0, certain.length)).toEqual(certain);
  });
});

describe("the result", () => {
  it("has every field", async () => {
    const result = await run(
      "-p",
      "The United States",
      "-n",
      "3",
      "--temp",
      "0",
      "--logprobs",
      "2",
      "-s",
      "7",
    );
    expect(result).toMatchObject({
      source: tinyModel,
      cachedTokens: 0,
      promptIds: unitedStates.ids,
      stopReason: "length",
      seed: 7,
    });
    expect(result.isa).toMatch(/./);
    expect(result.backend).toMatch(/^(native|reference)$/);
    expect(result.threads).toBeGreaterThan(0);
    const names = ["promptMs", "decodeMs", "promptTokensPerSecond", "firstTokenMs", "decodeTokensPerSecond"];
    expect(Object.keys(result.timings).sort()).toEqual([...names, "queuedMs"].sort());
    expect(result.loadMs).toBeGreaterThan(0);
    for (const name of names) expect(result.timings[name], name).toBeGreaterThan(0);
    expect(result.logprobs?.map(({ id }) => id)).toEqual(result.ids);
    expect(result.logprobs?.map(({ text }) => text).join("")).toBe(result.text);
    for (const { id, logprob, text, top } of result.logprobs ?? []) {
      expect(top).toHaveLength(2);
      expect(top[0]).toMatchObject({ id, text, logprob });
      expect(logprob).toBeLessThan(0);
    }
    expect(result.promptLogprobs).toBeUndefined();
  });

  it("is the same for the same seed, whatever the number of threads", async () => {
    const flags = ["-p", "We must", "-n", "12", "--seed", "11", "--temp", "1.2"];
    const [one, two] = await Promise.all([run(...flags, "-t", "1"), run(...flags, "-t", "2")]);
    expect(one.ids).toHaveLength(12);
    expect(one.ids).toEqual(two.ids);
  });

  it("ends before a stop text, and never at a forbidden token", async () => {
    const [first = 0] = unitedStates.greedy_ids;
    const stop = unitedStates.greedy_text.slice(8, 14);
    const [stopped, biased] = await Promise.all([
      run("-p", unitedStates.text, "-n", "40", "--stop", "never", "--stop", stop, ...greedy),
      run("-p", unitedStates.text, "-n", "1", "--logit-bias", `${first}=-inf`, ...greedy),
    ]);
    expect(stopped.text).toBe(unitedStates.greedy_text.slice(0, unitedStates.greedy_text.indexOf(stop)));
    expect(stopped.stopReason).toBe("stop");
    expect(biased.ids[0]).not.toBe(first);
  });

  it("fills the context with -n -1", async () => {
    const { ids, promptIds, stopReason } = await run(
      "-p",
      "We",
      "-n",
      "-1",
      "-c",
      "32",
      "--ignore-eos",
      ...greedy,
    );
    expect(stopReason).toBe("context");
    expect(promptIds.length + ids.length).toBe(32);
  });

  it("follows the chat template with a system prompt", async () => {
    const { promptIds } = await run("-sys", "Be brief.", "-p", "Hello", "-n", "1");
    const { text } = await bitnetJson<{ text: string }>(["tokenize", "--decode", promptIds.join(" ")]);
    expect(text).toBe("<|begin_of_text|>System: Be brief.<|eot_id|>User: Hello<|eot_id|>Assistant: ");
  });
});

describe("text output", () => {
  it("is on stdout, timings on stderr", async () => {
    const { status, stdout, stderr } = await bitnet(["run", "-p", unitedStates.text, "-n", "40", ...greedy]);
    expect(status).toBe(0);
    const common = certainIds(unitedStates).length === 40 ? unitedStates.greedy_text : "";
    expect(stdout.startsWith(common)).toBe(true);
    expect(stdout.endsWith("\n")).toBe(true);
    expect(stderr).toMatch(
      /6 prompt tokens at .* tok\/s, first token after .*, 40 tokens at .*stopped by length, seed \d+\n$/,
    );
  });
});

describe("prompts", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "bitnet-run-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("may be empty: only the beginning token", async () => {
    const prompt = promptOf("");
    const { promptIds, ids } = await run("-p", "", "-n", "5", ...greedy);
    expect(promptIds).toEqual(prompt.ids);
    expect(ids).toEqual(prompt.greedy_ids.slice(0, 5));
  });

  it("come from standard input and from files, without the last newline", async () => {
    const path = join(folder, "prompt.txt");
    await writeFile(path, `${unitedStates.text}\n`);
    const piped = await bitnetJson<RunResult>(["run", "-n", "1"], { input: `${unitedStates.text}\n` });
    const read = await run("-f", path, "-n", "1");
    expect(piped.promptIds).toEqual(unitedStates.ids);
    expect(read.promptIds).toEqual(unitedStates.ids);
  });

  it("may hold any bytes", async () => {
    const input = Uint8Array.from({ length: 100 }, (_, i) => (i * 37) % 256);
    const { promptIds } = await bitnetJson<RunResult>(["run", "-n", "1"], { input });
    const { text } = await bitnetJson<{ text: string }>([
      "tokenize",
      "--decode",
      promptIds.slice(1).join(" "),
    ]);
    expect(text).toBe(new TextDecoder().decode(input));
  });
});

describe("environment variables", () => {
  it("stand for flags, and flags win", async () => {
    const env = {
      BITNET_MODEL: tinyModel,
      BITNET_PROMPT: unitedStates.text,
      BITNET_N_PREDICT: "9",
      BITNET_TEMP: "0",
      BITNET_REPEAT_PENALTY: "1",
      BITNET_KV: "f32",
      BITNET_JSON: "yes",
      BITNET_BACKEND: "reference",
      BITNET_SEED: "",
    };
    const { status, stdout } = await bitnet(["run", "-n", "2"], { env });
    expect(status).toBe(0);
    const result = JSON.parse(stdout) as RunResult;
    expect(result.ids).toEqual(unitedStates.greedy_ids.slice(0, 2));
    expect([result.backend, result.threads]).toEqual(["reference", 1]);
  });
});

describe("ending early", () => {
  // The reference takes seconds for this, so that there is time to interrupt it.
  const long = ["run", "-p", "We", "-n", "-1", "--ignore-eos", "--backend", "reference", "-s", "1"];

  it("a reader who leaves ends it quietly", async () => {
    const { status, stderr } = await bitnet(long, { onOutput: (child) => child.stdout.destroy() });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it.each([
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("%s ends it with %i", async (signal, expected) => {
    const { status } = await bitnet(long, { onOutput: (child) => child.kill(signal) });
    expect(status).toBe(expected);
  });

  it("an interrupt stops the text, prints timings and exits with 130", async () => {
    const { status, stdout, stderr } = await bitnet(long, { onOutput: (child) => child.kill("SIGINT") });
    expect(status).toBe(130);
    expect(stdout.length).toBeGreaterThan(0);
    expect(stderr).toMatch(/^\d+ prompt tokens .*stopped by abort, seed 1\n$/);
  });

  it("a time limit ends with what there is", async () => {
    const { status, stdout, stderr } = await bitnet([...long, "--timeout", "2", "--json"]);
    const { text, stopReason } = JSON.parse(stdout) as RunResult;
    expect({ status, stderr }).toEqual({
      status: 124,
      stderr: "bitnet: stopped after 2.00 s (--timeout)\n",
    });
    expect(stopReason).toBe("abort");
    expect(text.length).toBeGreaterThan(0);
  });
});

/** Above them stands which backend serves, where it is not the best one. */
const lastLines = (text: string, n: number) => text.trimEnd().split("\n").slice(-n);

describe("chat", () => {
  it("answers every piped line in turn and obeys commands, and only those it knows", async () => {
    const input =
      "Hello\\\nthere\n/system Be brief.\n/nonsense\nWho are you?\n/stats\n/exit\nnever reached\n";
    const { status, stdout, stderr } = await bitnet(["chat", "-n", "8", "--temp", "0", "--ignore-eos"], {
      input,
    });
    expect(status).toBe(0);
    expect(stdout.split("\n").filter((line) => line !== "").length).toBeGreaterThanOrEqual(2);
    expect(stderr).toContain("conversation: 7 messages, 0 dropped");
  });

  it("answers as /set says from then on, and refuses what is no value", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bitnet-set-"));
    try {
      const [usual, short] = [join(folder, "usual.json"), join(folder, "short.json")];
      const input = `Hello\n/save ${usual}\n/clear\n/set n-predict 2\nHello\n/save ${short}\n/set temp warm\n`;
      const { status, stderr } = await bitnet(["chat", "-n", "8", "--temp", "0", "--ignore-eos"], { input });
      expect({ status, lines: lastLines(stderr, 3) }).toEqual({
        status: 1,
        lines: ["n-predict is 2", `saved 2 messages to ${short}`, expect.stringMatching(/^bitnet: temp: /)],
      });
      const answerIn = (path: string): string =>
        JSON.parse(readFileSync(path, "utf8")).messages.at(-1).content;
      expect(answerIn(usual).startsWith(answerIn(short))).toBe(true);
      expect(answerIn(usual).length).toBeGreaterThan(answerIn(short).length);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("saves to a file again and again, and never over another one", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bitnet-save-"));
    try {
      const [own, others] = [join(folder, "own.json"), join(folder, "others.json")];
      await writeFile(others, "not ours");
      const input = `One\n/save ${own}\nTwo\n/save ${own}\n/save ${others}\n/save\n`;
      const { status, stderr } = await bitnet(["chat", "-n", "2", "--ignore-eos"], { input });
      expect({ status, lines: lastLines(stderr, 4) }).toEqual({
        status: 1,
        lines: [
          `saved 2 messages to ${own}`,
          `saved 4 messages to ${own}`,
          `bitnet: ${others} exists already; save under another name`,
          "bitnet: /save needs the name of a file",
        ],
      });
      expect(readFileSync(others, "utf8")).toBe("not ours");
      // What was loaded may be written again, too.
      const loaded = await bitnet(["chat"], { input: `/load ${own}\n/save ${own}\n` });
      expect({ status: loaded.status, lines: lastLines(loaded.stderr, 2) }).toEqual({
        status: 0,
        lines: [`4 messages from ${own}`, `saved 4 messages to ${own}`],
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("goes on after a message that does not fit", async () => {
    const input = `${"one two three ".repeat(200)}\nHello\n`;
    const { status, stdout, stderr } = await bitnet(["chat", "-n", "4", "--backend", "reference"], { input });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^bitnet: .*the context holds 256\n$/);
    expect(stdout.trim()).not.toBe("");
  });
});
