/** Everything that users get wrong ends in one clear line on stderr, nothing on stdout, and exit status 1. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bitnet, type RunOptions, tinyModel } from "./cli-process.ts";

let folder = "";
const file = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-errors-"));
  const tiny = await readFile(tinyModel);
  await mkdir(file("empty"));
  await writeFile(file("notes.txt"), "Not a model, just some notes.\n");
  await writeFile(file("nothing.gguf"), "");
  await writeFile(file("short.gguf"), tiny.subarray(0, tiny.length - 1000));
  await writeFile(file("header.gguf"), tiny.subarray(0, 5000));
  await writeFile(file("architecture.gguf"), withArchitecture(tiny, "bitnet-x9.99"));
  await writeFile(file("type.gguf"), withTensorType(tiny, "blk.0.attn_q.weight", 200));
});

afterAll(() => rm(folder, { recursive: true }));

/** The same file under another architecture of the same length. */
function withArchitecture(model: Buffer, name: string): Buffer {
  const copy = Buffer.from(model);
  const at = copy.indexOf("bitnet-b1.58", copy.indexOf("general.architecture"));
  copy.write(name, at, "latin1");
  return copy;
}

/** In a tensor's entry the type follows its name, the number of dimensions (u32) and two dimensions (u64). */
function withTensorType(model: Buffer, name: string, type: number): Buffer {
  const copy = Buffer.from(model);
  copy.writeUInt32LE(type, copy.indexOf(name) + name.length + 4 + 16);
  return copy;
}

/** None of this depends on the backend; the reference is always there, without a notice on stderr. */
const backend = { BITNET_BACKEND: "reference" };

async function expectError(
  args: readonly string[],
  message: RegExp,
  { env, ...options }: RunOptions = {},
): Promise<void> {
  const { status, stdout, stderr } = await bitnet(args, { ...options, env: { ...backend, ...env } });
  expect(stderr).toMatch(/^bitnet: [^\n]+\n$/);
  expect(stderr).toMatch(message);
  expect(status).toBe(1);
  if (!args.includes("--json")) return expect(stdout).toBe("");
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
  expect(error.code).toMatch(/^[A-Z_]+$/);
  expect(stderr).toBe(`bitnet: ${error.message}\n`);
}

describe.concurrent("model files", () => {
  const cases: [string, string, RegExp][] = [
    ["a missing file", "missing.gguf", /missing\.gguf: no such file/],
    ["a folder without a configuration", "empty", /empty: expected config\.json/],
    ["a text file", "notes.txt", /notes\.txt: .*expected a GGUF file, found text/],
    ["an empty file", "nothing.gguf", /nothing\.gguf: /],
    ["a truncated download", "short.gguf", /short\.gguf: .*bytes early; the download may be incomplete/],
    [
      "a truncated header",
      "header.gguf",
      /header\.gguf: .*(download may be incomplete|damaged or incomplete)/,
    ],
    ["an unknown architecture", "architecture.gguf", /architecture\.gguf: .*"bitnet-x9\.99"/],
    ["an unknown tensor type", "type.gguf", /type\.gguf: .*"blk\.0\.attn_q\.weight".*type 200/],
  ];

  it.each(cases)("%s", async (_, name, message) => {
    await expectError(["run", "-m", file(name), "-p", "x", "--json"], message);
  });

  it("of other commands too", async () => {
    await expectError(["inspect", file("notes.txt")], /notes\.txt: .*found text/);
    await expectError(["tokenize", "-m", file("missing.gguf"), "x"], /no such file/);
    await expectError(["bench", "-m", file("empty")], /expected config\.json/);
  });
});

describe.concurrent("options", () => {
  const run = ["run", "-p", "x", "-n", "1"];
  const cases: [string, string[], RegExp][] = [
    ["a context beyond the training", [...run, "-c", "4000000"], /context of 4000000 .* trained with 256/],
    ["a negative temperature", [...run, "--temp", "-1"], /--temp .*'-1'.* from 0 up/],
    ["a value that is no number", [...run, "--top-k", "many"], /--top-k .*'many'.*integer from 0 up/],
    ["a number with something behind it", [...run, "-n", "10x"], /-n, .*'10x'/],
    ["a missing value", [...run, "--seed"], /--seed .*missing/],
    ["an unknown flag", [...run, "--frobnicate"], /unknown option '--frobnicate'/],
    ["a misspelt flag", [...run, "--tmp", "1"], /unknown option '--tmp' \(Did you mean --temp\?\)/],
    ["an unknown command", ["frobnicate"], /unknown command 'frobnicate'/],
    [
      "a model in place of a command",
      ["some/model.gguf", "Hi"],
      /is no command; .* bitnet run some\/model\.gguf/,
    ],
    [
      "an unknown backend",
      [...run, "--backend", "cuda"],
      /'cuda' is invalid\. Allowed choices are native, webgpu, wasm, reference/,
    ],
    ["an unknown instruction set", [...run, "--isa", "mmx"], /'mmx' is invalid\. Allowed choices are scalar/],
    ["a bias without a value", [...run, "--logit-bias", "3"], /ID=VALUE/],
    ["a bias beyond the vocabulary", [...run, "--logit-bias", "99999=1"], /99999/],
    ["a missing prompt file", ["run", "-f", "nowhere.txt"], /nowhere\.txt: no such file/],
    ["two prompts", [...run, "-f", "nowhere.txt"], /-p and -f exclude each other/],
    ["log-probabilities without --json", [...run, "--logprobs", "2"], /need --json/],
    ["a benchmark beyond the context", ["bench", "-p", "250", "-n", "7"], /more than the context of 256/],
    ["an id beyond the vocabulary", ["tokenize", "--decode", "1 99999"], /99999/],
    ["a text in place of ids", ["tokenize", "--decode", "one"], /expected token ids, found "one"/],
  ];

  it.each(cases)("%s", async (_, args, message) => {
    await expectError(args, message);
  });

  it("a prompt longer than the context", async () => {
    const input = "one two three ".repeat(300);
    await expectError(["run", "--json"], /the prompt has \d+ tokens, but the context holds 256/, { input });
  });

  it("environment variables say their name", async () => {
    await expectError(run, /'warm' from env 'BITNET_TEMP'/, { env: { BITNET_TEMP: "warm" } });
    await expectError(run, /BITNET_JSON: expected one of/, { env: { BITNET_JSON: "perhaps" } });
    await expectError(run, /'mmx' from env 'BITNET_ISA'/, { env: { BITNET_ISA: "mmx" } });
    const keys = ["keys", "list", "--keys", file("keys.json")];
    await expectError(keys, /BITNET_JSON: expected one of/, { env: { BITNET_JSON: "perhaps" } });
  });

  it("show a stack trace only when asked for one", async () => {
    const { stderr } = await bitnet(["run", "-m", file("missing.gguf"), "-p", ""], {
      env: { BITNET_DEBUG: "1" },
    });
    expect(stderr).toMatch(/^bitnet: .*no such file\nBitNetError: .*\n {4}at /);
  });
});

it("a folder in the place of a file is named as such", async () => {
  await expectError(["train", file("empty"), "-o", file("run")], /empty: expected the file of a recipe/);
  await expectError(
    ["train", file("notes.txt"), "-o", file("run")],
    /notes\.txt: expected the file of a recipe/,
  );
  await expectError(["batch", file("empty"), "-o", file("answers.jsonl")], /empty: is no file/);
  await writeFile(file("batch.jsonl"), "{}\n");
  const batch = ["batch", file("batch.jsonl"), "-o"];
  await expectError([...batch, file("empty")], /empty is a folder; name a file in it/);
  await expectError(
    [...batch, file("answers.jsonl"), "--errors", file("empty")],
    /empty is a folder; name a file in it/,
  );
  await expectError(
    ["embed", "We", "--pooling", "mean", "-o", file("empty")],
    /empty is a folder; name a file in it/,
  );
  expect(await readdir(file("empty"))).toEqual([]);
  expect(await readdir(folder)).not.toContain("answers.jsonl");
});

it("a file in the place of a folder is named as such, and left alone", async () => {
  await writeFile(file("data.csv"), "input,output\na,b\n");
  await writeFile(file("data.jsonl"), '{"input":"a","output":"b"}\n');
  for (const data of ["data.csv", "data.jsonl"]) {
    const args = ["finetune", "tiny", "--data", file(data), "-o", file("notes.txt"), "--json", "--reference"];
    const { status, stdout } = await bitnet(args, { env: backend });
    expect({ status, answer: JSON.parse(stdout) }).toEqual({
      status: 1,
      answer: {
        error: {
          code: "IO_FAILED",
          message: expect.stringMatching(/notes\.txt.*: the folder cannot be made/),
        },
      },
    });
  }
  expect(await readFile(file("notes.txt"), "utf8")).toBe("Not a model, just some notes.\n");
});

it("the embedded model is known by its name to commands that only read files", async () => {
  const { status, stderr } = await bitnet([
    "finetune",
    "tiny",
    "--data",
    file("nothing.gguf"),
    "-o",
    file("run"),
  ]);
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: expect.stringMatching(/nothing\.gguf: holds no example/),
  });
});

describe("dummy", () => {
  it("refuses what cannot be", async () => {
    const output = file("dummy.gguf");
    const dummy = ["dummy", "-o", output, "--shape"];
    await expectError([...dummy, "3b", "--packing", "tq2_0"], /cannot be stored as tq2_0.*multiples of 256/);
    await expectError([...dummy, "2tb"], /'2tb' is invalid\. Allowed choices are 125m/);
    await expectError(
      [...dummy, "100b", "--layers", "4096"],
      /needs .* TB, but only .* free.*nothing was written/,
    );
    await expectError(["dummy", "--shape", "125m"], /required option '-o, --output <path>' not specified/);
    await expectError(["dummy", "--shape", "125m", "-o", file("no/such/x.gguf")], /does not exist/);
  });
});
