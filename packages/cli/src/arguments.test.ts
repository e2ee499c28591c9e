import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { cleanEnvironment, rewriteArguments } from "./arguments.ts";
import { option } from "./options.ts";

function program(): Command {
  const root = new Command("bitnet");
  root
    .command("run")
    .addOption(option("-p, --prompt <text>", "prompt"))
    .addOption(option("--sys, --system-prompt <text>", "system"))
    .addOption(option("--json", "json"));
  return root;
}

describe("rewriteArguments", () => {
  const rewrite = (...argv: string[]) => rewriteArguments(argv, program());

  it("spells -sys out", () => {
    expect(rewrite("run", "-sys", "Be brief.", "--json")).toEqual([
      "run",
      "--system-prompt",
      "Be brief.",
      "--json",
    ]);
  });

  it.each(["-hf", "-hfr", "--hf-repo"])("reads llama.cpp's %s as a model of the hub", (flag) => {
    expect(rewrite("run", flag, "owner/name", "--json")).toEqual([
      "run",
      "--model",
      "hf:owner/name",
      "--json",
    ]);
  });

  it("leaves values alone, whatever they look like", () => {
    expect(rewrite("run", "-p", "-sys")).toEqual(["run", "-p", "-sys"]);
    expect(rewrite("run", "--prompt", "-sys", "-sys", "-sys")).toEqual([
      "run",
      "--prompt",
      "-sys",
      "--system-prompt",
      "-sys",
    ]);
    expect(rewrite("run", "--json", "--", "-sys")).toEqual(["run", "--json", "--", "-sys"]);
  });

  it("lets empty and missing values pass", () => {
    expect(rewrite("run", "-p", "")).toEqual(["run", "-p", ""]);
    expect(rewrite("run", "-p")).toEqual(["run", "-p"]);
    expect(rewrite()).toEqual([]);
  });
});

describe("cleanEnvironment", () => {
  const clean = (environment: Record<string, string>) => {
    const [command] = program().commands;
    const problem = command === undefined ? "no command" : cleanEnvironment(command, environment);
    return { problem, environment };
  };

  it("takes empty variables and switches that say no for unset", () => {
    expect(clean({ BITNET_PROMPT: "", BITNET_JSON: "0" })).toEqual({ problem: null, environment: {} });
    expect(clean({ BITNET_JSON: "FALSE" }).environment).toEqual({});
  });

  it("keeps everything else", () => {
    const environment = { BITNET_PROMPT: "0", BITNET_JSON: "1", BITNET_OTHER: "" };
    expect(clean({ ...environment })).toEqual({ problem: null, environment });
  });

  it("refuses a switch that says neither yes nor no", () => {
    expect(clean({ BITNET_JSON: "perhaps" }).problem).toMatch(
      /BITNET_JSON: expected one of 1, true.*"perhaps"/,
    );
  });
});
