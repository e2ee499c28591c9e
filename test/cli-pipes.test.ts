/** What reads the command's output may leave, and what is given to it may be no UTF-8: neither is a crash, and neither goes unsaid. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createProgram } from "#cli/index.ts";
import type { Session } from "#cli/session.ts";
import { bitnet, tinyModel } from "./cli-process.ts";

const cli = fileURLToPath(new URL("../packages/cli/dist/index.js", import.meta.url));
let folder = "";
const inFolder = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-pipes-"));
  await writeFile(inFolder("text.txt"), "We must not be weak. ".repeat(5));
  await writeFile(inFolder("own.jsonl"), JSON.stringify({ question: "We", choices: ["a", "b"], gold: 0 }));
});
afterAll(() => rm(folder, { recursive: true }));

const reference = { BITNET_BACKEND: "reference" };
/** Of each command that prints, the cheapest that it prints. Null: what it prints, it prints to stderr, or takes minutes. */
const lines: Readonly<Record<string, (() => string[]) | null>> = {
  run: () => ["run", "-p", "We", "-n", "2"],
  chat: () => ["chat", "-n", "2"],
  embed: () => ["embed", "--pooling", "mean", "We"],
  tokenize: () => ["tokenize", "We"],
  batch: null,
  models: () => ["models", "--json"],
  pull: null,
  ls: () => ["ls", "--json"],
  rm: null,
  inspect: () => ["inspect", "--json"],
  convert: () => ["convert", tinyModel, "-o", inFolder("out.gguf"), "--to", "tq2_0", "--json"],
  serve: null,
  web: null,
  keys: () => ["keys", "create", "me", "--keys", inFolder("keys.json")],
  top: null,
  train: null,
  finetune: null,
  merge: null,
  eval: () => ["eval", "--task", inFolder("own.jsonl"), "--json"],
  perplexity: () => ["perplexity", "-f", inFolder("text.txt"), "-c", "16"],
  doctor: () => ["doctor", "--json"],
  "build-native": null,
  bench: () => ["bench", "-p", "2", "-n", "2", "-r", "1"],
  dummy: null,
  completion: () => ["completion", "bash"],
};

it("every command is thought of", () => {
  const names = createProgram({} as Session).commands.map((command) => command.name());
  expect(Object.keys(lines)).toEqual(names);
});

/** Runs the commands one after the other in one process, which is much the cheapest, and writes down the exit status of each. */
const driver = `
  const { writeFileSync } = await import("node:fs");
  const { main } = await import(process.env.CLI);
  const statuses = [];
  for (const line of JSON.parse(process.env.LINES)) {
    await main(line);
    statuses.push(process.exitCode);
  }
  writeFileSync(process.env.STATUSES, JSON.stringify(statuses));
  process.exitCode = 0;`;

it("a reader who is gone before the first word ends every command quietly", async () => {
  const named = Object.entries({ ...lines, help: () => ["--help"], usage: () => ["run", "--help"] });
  const printing = named.flatMap(([name, line]) => (line === null ? [] : [{ name, line: line() }]));
  const child = spawn(process.execPath, ["--input-type=module", "-e", driver], {
    env: {
      ...{ ...process.env, ...reference, BITNET_MODEL: tinyModel, CLI: pathToFileURL(cli).href },
      ...{ LINES: JSON.stringify(printing.map(({ line }) => line)), STATUSES: inFolder("statuses.json") },
    },
  });
  child.stdout.destroy();
  child.stdin.end("We\n");
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const [status] = await once(child, "close");
  // Drivers of graphics cards say there what they lack.
  expect({ status, stderr }).toEqual({
    status: 0,
    stderr: expect.not.stringMatching(/bitnet|Error|^\s+at .*\.js/m),
  });
  const statuses = JSON.parse(await readFile(inFolder("statuses.json"), "utf8")) as number[];
  expect(Object.fromEntries(printing.map(({ name }, i) => [name, statuses[i]]))).toEqual(
    Object.fromEntries(printing.map(({ name }) => [name, 0])),
  );
});

it("an error keeps its status when nobody reads it", async () => {
  const gone = { onStart: (child: { stdout: { destroy(): unknown } }) => void child.stdout.destroy() };
  const { status } = await bitnet(["inspect", inFolder("none.gguf"), "--json"], gone);
  expect(status).toBe(1);
});

describe.skipIf(process.platform === "win32")("bytes that are no UTF-8", () => {
  /** The shell makes them; Node's own arguments are texts. */
  const shell = (command: string) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const entry = join(cli, "..", "..", "bin", "bitnet.js");
      const env = { ...process.env, ...reference, NODE: process.execPath, BITNET: entry, MODEL: tinyModel };
      execFile("bash", ["-c", command], { cwd: folder, env }, (error, stdout, stderr) =>
        resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
      );
    });

  it("in the name of a file are named, with what helps", async () => {
    const { code, stderr } = await shell(
      `cp "$MODEL" $'b\\xff.gguf' && "$NODE" "$BITNET" inspect $'b\\xff.gguf'`,
    );
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr:
        "bitnet: b\ufffd.gguf: no such file; Node reads only names that are UTF-8: rename it, or make a link to it\n",
    });
    const linked = await shell(`ln -s $'b\\xff.gguf' link.gguf && "$NODE" "$BITNET" inspect link.gguf`);
    expect(linked.code).toBe(0);
  });

  it("in a prompt become U+FFFD, as in files and pipes", async () => {
    const { code, stdout } = await shell(`"$NODE" "$BITNET" tokenize --json -m "$MODEL" $'a\\xffb'`);
    const expected = await bitnet(["tokenize", "--json", "a\ufffdb"]);
    expect({ code, ids: JSON.parse(stdout).ids }).toEqual({ code: 0, ids: JSON.parse(expected.stdout).ids });
  });

  it("beside a model are no reason not to open it", async () => {
    const { code } = await shell(
      `mkdir m && cp "$MODEL" m/ && touch m/$'b\\xff' && "$NODE" "$BITNET" inspect m`,
    );
    expect(code).toBe(0);
  });
});
