/** Command lines that are written down, in the help and in the documents, are ones that the command takes: no flag of them is gone or misspelt. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { rewriteArguments } from "#cli/arguments.ts";
import { createProgram } from "#cli/index.ts";
import type { Session } from "#cli/session.ts";

type Command = ReturnType<typeof createProgram>;

const root = fileURLToPath(new URL("..", import.meta.url));

/** The commands, which do nothing. */
function commands(): Command {
  const program = createProgram({} as Session);
  for (const command of [...program.commands, ...program.commands.flatMap((each) => each.commands)])
    if (command.commands.length === 0) command.action(() => {});
  return program;
}

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command.outputHelp();
  return text;
}

/** Words as a shell takes them, up to a pipe, a redirection or a comment. */
function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const [, single, double, plain] of line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)) {
    if (plain !== undefined && /^(#|[|<>&;]|2>)/.test(plain)) break;
    words.push(single ?? double ?? plain ?? "");
  }
  return words;
}

/** Lines that begin with the command, or have it behind a pipe; a backslash at the end of one joins the next. */
function linesIn(text: string): string[] {
  const joined = text.replaceAll(/\\\n\s*/g, " ");
  const found = joined.matchAll(
    /^(?:\s{2,}|\$ )?(?:[^`\n]*\| |eval "\$\()?(?:npx )?bitnet(?:\.ts)? ((?!is )[a-z-].*)$/gm,
  );
  return [...found].map(([, line = ""]) => line.replace(/\)"$/, ""));
}

async function problemOf(line: string): Promise<string | null> {
  try {
    const program = commands();
    await program.parseAsync(rewriteArguments(wordsOf(line), program), { from: "user" });
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

describe("the help", () => {
  const program = commands();
  const named = program.commands.filter((command) => command.name() !== "help");

  it("puts every command into a group, and says of every flag what it is for", () => {
    expect(named.length).toBeGreaterThan(20);
    for (const command of named) {
      expect(command.helpGroup(), command.name()).not.toBe("");
      for (const option of command.options) expect(option.description, option.flags).not.toBe("");
    }
  });

  it.each(named.map((command) => [command.name(), command] as const))(
    "of %s has examples that it takes",
    async (name, command) => {
      const [, examples = ""] = helpOf(command).split("\nExamples:\n");
      const lines = linesIn(examples);
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.some((line) => line.startsWith(name))).toBe(true);
      for (const line of lines) expect(await problemOf(line), line).toBeNull();
    },
  );
});

describe("the documents", () => {
  const pages = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" });
  // The site's copy of BENCHMARKS.md lies there once it has been built: tables, in which a row may begin with the name.
  const own = pages
    .filter((path) => /^(guide\/)?[\w-]+\.md$/.test(path) && path !== "benchmarks.md")
    .map((path) => join("docs", path));
  const found = [...own, "README.md"].flatMap((path) =>
    linesIn(readFileSync(join(root, path), "utf8")).map((line) => [path, line] as const),
  );

  it("name commands", () => {
    expect(found.length).toBeGreaterThan(40);
  });

  it.each(found)("%s: bitnet %s", async (_, line) => {
    // Optional parts stand in brackets, what is to be put in in capitals.
    const meant = line
      .replaceAll(/[[\]…]/g, "")
      .replace("FORMAT", "i2_s")
      .replace("TYPE", "f16");
    expect(await problemOf(meant)).toBeNull();
  });
});
