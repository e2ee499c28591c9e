/** Nothing that a model writes or a file is named reaches a terminal raw, and pipes get every byte. */
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { bitnet, bitnetJson, tinyModel } from "./cli-process.ts";
import { PseudoTerminal, whyNoTerminal } from "./pseudo-terminal.ts";

const reason = whyNoTerminal();
if (reason !== null && process.env.BITNET_REQUIRE_ALL === "1") throw new Error(reason);

let terminal: PseudoTerminal | null = null;
let flags: string[] = [];

beforeAll(async () => {
  const { ids } = await bitnetJson<{ ids: number[] }>(["tokenize", "\u001b"]);
  flags = ["-p", "We", "-n", "3", "--repeat-penalty", "1", "--logit-bias", `${ids[0]}=1000`];
});

afterEach(() => {
  terminal?.close();
  terminal = null;
});

it("gives a pipe what the model wrote", async () => {
  expect((await bitnet(["run", ...flags])).stdout).toBe("\u001b\u001b\u001b\n");
});

describe.skipIf(reason !== null)("on a terminal", () => {
  it.each(["run", "chat"])("%s shows control characters as signs", async (command) => {
    if (command === "run") terminal = new PseudoTerminal(["run", ...flags]);
    else {
      terminal = new PseudoTerminal(["chat", "--no-history", ...flags.slice(2)]);
      await terminal.shows(/^>/m);
      terminal.type("We");
      terminal.press("Enter");
    }
    await terminal.shows("␛␛␛");
  });

  it("--raw lets them through", async () => {
    terminal = new PseudoTerminal(["run", "--raw", ...flags]);
    expect(await terminal.ends()).toBe(0);
    expect(terminal.screen()).toContain("prompt tokens");
    expect(terminal.screen()).not.toContain("␛");
  });

  it("a model's name is harmless above a chat", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bitnet-named-"));
    try {
      const model = await readFile(tinyModel);
      const at = model.indexOf("tiny", model.indexOf("general.name"));
      model.write("\u001b[1m", at, "latin1"); // as long
      const path = join(folder, "model.gguf");
      await writeFile(path, model);
      terminal = new PseudoTerminal(["chat", "--no-history", "-m", path]);
      await terminal.shows(/^␛\[1m on .*\/help lists/m);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("names of files are harmless in results and in errors", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bitnet-names-"));
    try {
      const path = join(folder, "a\u001b[31m.gguf");
      await symlink(tinyModel, path);
      terminal = new PseudoTerminal(["inspect", "-m", path]);
      await terminal.shows("a␛[31m.gguf");
      terminal.close();
      terminal = new PseudoTerminal(["run", "-p", "We", "-m", `${path}\u001b[2J`]);
      await terminal.shows(/a␛\[31m\.gguf␛\[2J: no such\s+file/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
