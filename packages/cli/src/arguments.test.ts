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
  root.command("chat").addOption(option("--json", "json"));
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

  it.each<[string[], string[]]>([
    [
      ["--predict", "5"],
      ["--n-predict", "5"],
    ],
    [
      ["--temperature", "0"],
      ["--temp", "0"],
    ],
    ...["-ngl", "--gpu-layers", "--n-gpu-layers"].map((flag): [string[], string[]] => [[flag, "99"], []]),
    ...[
      "--no-display-prompt",
      "--color",
      "-no-cnv",
      "--no-conversation",
      "-st",
      "--single-turn",
      "--jinja",
      "--no-warmup",
    ].map((flag): [string[], string[]] => [[flag], []]),
  ])("understands llama.cpp's %j, and leaves alone what follows", (flags, known) => {
    expect(rewrite("run", ...flags, "--json")).toEqual(["run", ...known, "--json"]);
  });

  it.each([
    ["-cnv", "bitnet chat"],
    ["--conversation", "bitnet chat"],
    ["-i", "bitnet chat"],
    ["--interactive", "bitnet chat"],
    ...["-tb", "--threads-batch"].map((flag) => [flag, "-t sets"]),
    ...["-b", "--batch-size", "-ub", "--ubatch-size", "-fa", "--flash-attn"].map((flag) => [
      flag,
      "leave it out",
    ]),
    ...["-ctk", "-ctv", "--cache-type-k", "--cache-type-v"].map((flag) => [flag, "--kv"]),
    ...["--mlock", "--no-mmap"].map((flag) => [flag, "leave it out"]),
    ...["-r", "--reverse-prompt"].map((flag) => [flag, "--stop TEXT"]),
    ...["-e", "--escape"].map((flag) => [flag, "$'a\\nb'"]),
    ["-np", "bitnet serve"],
    ...["-mli", "--multiline-input"].map((flag) => [flag, "three quotes in `bitnet chat`"]),
  ])("refuses llama.cpp's %s with what does it here: %s", (flag, word) => {
    const rewriting = () => rewrite("run", String(flag), "1");
    expect(rewriting).toThrow(`${flag} is llama.cpp's: `);
    expect(rewriting).toThrow(word);
  });

  it("knows what a conversation is in `chat`", () => {
    for (const flag of ["-cnv", "--conversation", "-i", "--interactive"])
      expect(rewrite("chat", flag, "--json")).toEqual(["chat", "--json"]);
    expect(() => rewrite("chat", "-ub", "1")).toThrow("llama.cpp's");
  });

  it.each(["-ngx", "-nn", "-pj", "-jp", "-it"])("refuses %s, which is no bundle of flags", (argument) => {
    expect(() => rewrite("run", argument, "x")).toThrow(`unknown option ${argument}`);
  });

  it("lets a flag with its number behind it pass", () => {
    expect(rewrite("run", "-n5", "-s-1", "a prompt")).toEqual(["run", "-n5", "-s-1", "a prompt"]);
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
