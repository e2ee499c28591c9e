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
  const scriptFor = async (shell: string) => (await bitnet(["completion", shell])).stdout;

  it("completes commands, flags and their choices in bash, for both names", async () => {
    const script = await scriptFor("bash");
    const complete = (...words: string[]) =>
      spawnSync(
        "bash",
        [
          ...["--norc", "-c"],
          `${script}\nCOMP_WORDS=(${words.join(" ")}); COMP_CWORD=${words.length - 1}; _bitnet; echo "\${COMPREPLY[@]}"`,
        ],
        { encoding: "utf8" },
      ).stdout.trim();
    expect(complete("bitnet", "cha")).toBe("chat");
    expect(complete("bitnet", "run", "--no-such")).toBe("");
    expect(complete("bitnet", "run", "--top-").split(" ")).toEqual(["--top-k", "--top-p"]);
    expect(complete("bitnet", "run", "x", "--top-").split(" ")).toEqual(["--top-k", "--top-p"]);
    expect(complete("bitnet", "keys", "''").split(" ")).toEqual(["create", "list", "revoke"]);
    expect(complete("bitnet", "keys", "create", "--ten")).toBe("--tenant");
    expect(complete("bitnet", "run", "--backend", "n")).toBe("native");
    expect(complete("bitnet", "run", "-f", "package.j")).toBe("package.json");
    const { stdout } = spawnSync("bash", ["--norc", "-c", `${script}\ncomplete -p bitnet bitnet.ts`], {
      encoding: "utf8",
    });
    expect(stdout.match(/-F _bitnet bitnet(\.ts)?$/gm)).toHaveLength(2);
  });

  it("brings bash's to zsh", async () => {
    expect(await scriptFor("zsh")).toBe(
      `autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit\n${await scriptFor("bash")}`,
    );
  });

  it("says to fish which flags there are, their choices, and what they do", async () => {
    const script = await scriptFor("fish");
    const of = (command: string) => `complete -c bitnet -n '__fish_seen_subcommand_from ${command}'`;
    for (const line of [
      "complete -c bitnet -n '__fish_use_subcommand' -f -a completion -d 'print a script that",
      "complete -c bitnet -n '__fish_seen_subcommand_from keys; and not __fish_seen_subcommand_from create list revoke' -f -a create -d '",
      `${of("keys; and __fish_seen_subcommand_from create")} -l tenant -r -d '`,
      `${of("run")} -l n-predict -s n -r -d '`,
      `${of("run")} -l backend -x -a 'native webgpu wasm reference' -d '`,
      `${of("run")} -l ignore-eos -d 'never end at`,
      `${of("run")} -l system-prompt -r -d '(also -sys) apply the model\\'s chat template`,
      "complete -c bitnet.ts -w bitnet\n",
    ])
      expect(script).toContain(line);
  });

  it("is refused for shells that are not known", async () => {
    const { status, stderr } = await bitnet(["completion", "tcsh"]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining("bash, zsh, fish") });
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
