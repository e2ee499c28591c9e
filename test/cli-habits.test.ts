/** What people bring from other tools: arguments without flags, llama.cpp's flags, JSON errors, shells that complete, signals. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bitnet, bitnetJson, embeddedModel, tinyModel } from "./cli-process.ts";

interface Answer {
  source: string;
  ids: number[];
  promptIds: number[];
}

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-habits-"));
});
afterAll(() => rm(folder, { recursive: true }));

const greedy = ["--temp", "0", "-n", "4"];

describe("run", () => {
  it("takes model and prompt without flags", async () => {
    const plain = await bitnetJson<Answer>(["run", tinyModel, "We must", ...greedy]);
    const flagged = await bitnetJson<Answer>(["run", "-m", tinyModel, "-p", "We must", ...greedy]);
    expect(plain.ids).toEqual(flagged.ids);
    expect(plain.promptIds).toEqual(flagged.promptIds);
    const mixed = await bitnetJson<Answer>(["run", "-m", tinyModel, "We must", ...greedy]);
    expect(mixed.promptIds).toEqual(flagged.promptIds);
    const twice = await bitnet(["run", "-m", tinyModel, tinyModel, "We must"]);
    expect(twice.stderr).toMatch(/the model is given twice/);
    const { status, stderr } = await bitnet(["run", tinyModel, "We must", "-p", "You must"]);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/the prompt is given twice/),
    });
  });

  it("knows the embedded model by its name", async () => {
    const { source } = await bitnetJson<Answer>(["run", "-m", "tiny", "-p", "We", ...greedy]);
    expect(source).toBe(embeddedModel);
  });

  it.each([["-ngl", "99"], ["--no-display-prompt"], ["--color"], ["-st"], ["-no-cnv"], ["-s", "-1"]])(
    "accepts llama.cpp's %s %s",
    async (...flags) => {
      const { ids } = await bitnetJson<Answer>(["run", "-p", "We must", ...greedy, ...flags]);
      expect(ids).toHaveLength(4);
    },
  );

  it.each([
    [["-cnv"], /-cnv is llama\.cpp's: for a conversation use `bitnet chat`/],
    [["-ctk", "q8_0"], /--kv f16 or --kv f32/],
    [["-ngx", "5"], /unknown option -ngx/],
    [["-nn"], /unknown option -nn/],
  ])("refuses %j with what to type instead", async (flags, message) => {
    const { status, stdout, stderr } = await bitnet(["run", "-p", "We", ...flags]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });

  it("ends with a status of its own when the time is over", async () => {
    const { status, stderr } = await bitnet(["run", "-p", "We", "-n", "-1", "--timeout", "0.001"]);
    expect({ status, stderr }).toEqual({
      status: 124,
      stderr: expect.stringContaining("(--timeout) while the model was loading"),
    });
  });
});

describe("with --json", () => {
  it.each([
    [["run", "-m", "/no/such.gguf", "-p", "We"], "FILE_NOT_FOUND"],
    [["run", "-p", "We", "--temp", "warm"], "INVALID_ARGUMENT"],
    [["tokenize", "--nonsense"], "INVALID_ARGUMENT"],
  ])("%j is an error that programs can read", async (args, code) => {
    const { status, stdout, stderr } = await bitnet([...args, "--json"]);
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
    expect({ status, code: error.code }).toEqual({ status: 1, code });
    expect(stderr).toBe(`bitnet: ${error.message}\n`);
  });
});

it("an error is an object, too, where the variable asks for JSON", async () => {
  const { stdout } = await bitnet(["run", "-m", "/no/such.gguf", "-p", "We"], {
    env: { BITNET_JSON: "yes" },
  });
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: "FILE_NOT_FOUND" } });
});

it("shows flags in groups, and examples", async () => {
  const { stdout } = await bitnet(["run", "--help"]);
  for (const part of ["\nSampling:\n", "\nModel:\n", "\nOutput:\n", "\nExamples:\n  bitnet run"])
    expect(stdout).toContain(part);
});

describe("completion", () => {
  it("completes commands and flags in bash", async () => {
    const { stdout } = await bitnet(["completion", "bash"]);
    const complete = (...words: string[]) =>
      spawnSync(
        "bash",
        [
          ...["--norc", "-c"],
          `${stdout}\nCOMP_WORDS=(${words.join(" ")}); COMP_CWORD=${words.length - 1}; _bitnet; echo "\${COMPREPLY[@]}"`,
        ],
        { encoding: "utf8" },
      ).stdout.trim();
    expect(complete("bitnet", "cha")).toBe("chat");
    expect(complete("bitnet", "run", "--no-such")).toBe("");
    expect(complete("bitnet", "run", "--top-").split(" ")).toEqual(["--top-k", "--top-p"]);
  });

  it.each(["zsh", "fish"])("is there for %s, and refused for shells that are not known", async (shell) => {
    const { status, stdout } = await bitnet(["completion", shell]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining("system-prompt") });
    expect((await bitnet(["completion", "tcsh"])).status).toBe(1);
  });
});

describe("dummy", () => {
  it("refuses a folder as output before it writes anything", async () => {
    const { status, stderr } = await bitnet(["dummy", "--shape", "125m", "-o", folder]);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/is a folder; name a file/),
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it("removes its unfinished file when the terminal hangs up", async () => {
    const target = join(folder, "model.gguf");
    const { status } = await bitnet(["dummy", "--shape", "2b-4t", "-o", target], {
      onStart: (child) => void hangUpOnceWriting(child, folder),
    });
    expect(status).toBe(129);
    expect(await readdir(folder)).toEqual([]);
  });
});

async function hangUpOnceWriting(
  child: { kill(signal: "SIGHUP"): boolean; exitCode: number | null },
  where: string,
) {
  while (child.exitCode === null && (await readdir(where)).length === 0)
    await new Promise((resolve) => setImmediate(resolve));
  child.kill("SIGHUP");
}
