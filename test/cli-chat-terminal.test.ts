/** `bitnet chat` in a real pseudo-terminal, as a person would use it. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { tinyModel } from "./cli-process.ts";
import { bitnetCommand, PseudoTerminal, type TerminalOptions, whyNoTerminal } from "./pseudo-terminal.ts";

const reason = whyNoTerminal();
if (reason !== null && process.env.BITNET_REQUIRE_ALL === "1") throw new Error(reason);
if (reason !== null) console.warn(`chat on a terminal: skipped, ${reason}`);

const brief = ["-m", tinyModel, "--temp", "0", "-n", "4", "--ignore-eos"];
let folder: string;
let terminal: PseudoTerminal | null = null;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-chat-"));
});

afterEach(() => {
  terminal?.close();
  terminal = null;
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function open(args: readonly string[], options: TerminalOptions = {}): Promise<PseudoTerminal> {
  terminal = new PseudoTerminal(["chat", ...args], {
    ...options,
    env: { XDG_STATE_HOME: join(folder, "state"), ...options.env },
  });
  if (!options.shell) await terminal.shows(/^>/m);
  return terminal;
}

/** Waits for the line under the nth answer, and for the prompt after it. */
async function answered(chat: PseudoTerminal, n: number): Promise<string> {
  const screen = await chat.shows(new RegExp(`(?:^\\d+ tokens?.*$(?:.|\\n)*?){${n}}^>`, "m"));
  return screen;
}

async function saved(chat: PseudoTerminal, name: string): Promise<{ role: string; content: string }[]> {
  const path = join(folder, name);
  chat.type(`/save ${path}`);
  chat.press("Enter");
  await chat.shows(/^saved \d+ messages? to/m);
  return (JSON.parse(await readFile(path, "utf8")) as { messages: { role: string; content: string }[] })
    .messages;
}

describe.skipIf(reason !== null)("chat on a terminal", () => {
  it("takes a paste of many lines as one message", async () => {
    const chat = await open([...brief, "--no-history"]);
    chat.paste("First line\nsecond\u001b[31m line\n\tthird");
    await chat.shows("third");
    chat.press("Enter");
    await answered(chat, 1);
    const messages = await saved(chat, "paste.json");
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
    expect(messages[0]?.content).toBe("First line\nsecond[31m line\n\tthird");
  });

  it("takes what stands between three quotes as one message", async () => {
    const chat = await open([...brief, "--no-history"]);
    for (const line of ['"""', "one", "two", '"""']) {
      chat.type(line);
      chat.press("Enter");
    }
    await answered(chat, 1);
    expect((await saved(chat, "quotes.json"))[0]?.content).toBe("one\ntwo");
  });

  it("stops an answer at Ctrl-C, then hints, then leaves", async () => {
    const chat = await open(["-m", tinyModel, "--ignore-eos", "--no-history"]);
    chat.type("Tell me everything");
    chat.press("Enter");
    await chat.shows(/everything\n\S/);
    chat.press("C-c");
    await chat.shows(/stopped by (abort|context)[\s\S]*^>/m);
    chat.type("not sent");
    await chat.shows("> not sent");
    chat.press("C-c");
    await chat.shows("^C");
    chat.press("C-c");
    await chat.shows("Ctrl-C again");
    // Another key in between, and the next one is the first again.
    chat.press("x", "BSpace", "C-c");
    await chat.shows(/Ctrl-C again[\s\S]*Ctrl-C again/);
    chat.press("C-c");
    expect(await chat.ends()).toBe(0);
  });

  it("suspends with its npx at Ctrl-Z, and goes on at fg", async () => {
    const chat = await open([], { shell: true });
    await chat.shows("shell$");
    // A parent in the same group that waits, as npx does.
    chat.type(`sh -c '${bitnetCommand(["chat", ...brief, "--no-history"]).join(" ")}; exit $?'`);
    chat.press("Enter");
    await chat.shows(/^>/m);
    chat.type("half");
    await chat.shows("> half");
    chat.press("C-z");
    await chat.shows(/Stopped[\s\S]*shell\$/);
    chat.type("echo $((40 + 2))");
    chat.press("Enter");
    await chat.shows(/^42$/m);
    chat.type("fg");
    chat.press("Enter");
    await chat.shows(/fg\n[\s\S]*> half/);
    chat.type(" done");
    chat.press("Enter");
    await chat.shows("> half done");
    await chat.shows(/^\d+ tokens/m);
  });

  it("keeps its history for the next session, readable by its user alone, unless told not to", async () => {
    const state = join(folder, "history");
    const env = { XDG_STATE_HOME: state };
    const first = await open(brief, { env });
    first.paste("Remember\nthis");
    first.press("Enter");
    await answered(first, 1);
    first.type("/bye");
    first.press("Enter");
    expect(await first.ends()).toBe(0);
    first.close();
    const second = await open(brief, { env });
    second.press("Up", "Up");
    await second.shows(/> Remember.*this/);
    second.close();
    const none = await open([...brief, "--no-history"], { env });
    none.press("Up");
    none.type("x");
    await none.shows(/^> x$/m);
    const { stat } = await import("node:fs/promises");
    expect((await stat(join(state, "bitnet", "history"))).mode & 0o077).toBe(0);
  });

  it("knows its commands, and sends everything else with a slash", async () => {
    const chat = await open([...brief, "--no-history"], { rows: 50 });
    for (const line of ["/?", "/set temp 0.5", "/set tmep 1", "/etc/hosts is a file", "// not a command"]) {
      chat.type(line);
      chat.press("Enter");
    }
    await chat.shows("/regenerate");
    await chat.shows("temp is 0.5");
    await chat.shows(/tmep: no such setting; did you mean "temp"\?/);
    await answered(chat, 2);
    const before = await saved(chat, "commands.json");
    expect(before.map(({ content }) => content)).toEqual(
      expect.arrayContaining(["/etc/hosts is a file", "// not a command"]),
    );
    chat.type("/regenerate");
    chat.press("Enter");
    await answered(chat, 3);
    // The last message has another answer; it was not sent again.
    const path = join(folder, "again.json");
    chat.type(`/save ${path}`);
    chat.press("Enter");
    await chat.shows(`saved 4 messages to ${path}`);
    chat.type("/clear");
    chat.press("Enter");
    chat.type(`/load ${join(folder, "commands.json")}`);
    chat.press("Enter");
    await chat.shows(/^4 messages from/m);
    chat.type("/load /no/such/file");
    chat.press("Enter");
    await chat.shows("/no/such/file: no such file");
    chat.type("/bye");
    chat.press("Enter");
    expect(await chat.ends()).toBe(0);
  });

  it("writes no escape sequence to a dumb terminal, and obeys its keys", async () => {
    const chat = await open([], { shell: true });
    await chat.shows("shell$");
    chat.type("export TERM=dumb");
    chat.press("Enter");
    await chat.shows(/dumb\nshell\$/);
    const record = join(folder, "dumb");
    chat.record(record);
    chat.type(bitnetCommand(["chat", ...brief, "--no-history"]).join(" "));
    chat.press("Enter");
    await chat.shows(/^>/m);
    chat.type("not sent");
    await chat.shows("> not sent");
    chat.press("C-c");
    await chat.shows("^C");
    chat.type("Hello");
    chat.press("Enter");
    await answered(chat, 1);
    expect((await saved(chat, "dumb.json"))[0]?.content).toBe("Hello");
    chat.type("/bye");
    chat.press("Enter");
    await chat.shows(/bye\nshell\$/);
    const written = await readFile(record, "utf8");
    expect(written).toContain("Hello");
    expect(written).not.toContain("\u001b");
  });

  it("shows a message that was typed ahead when it is sent", async () => {
    const chat = await open(["-m", tinyModel, "--temp", "0", "-n", "60", "--ignore-eos", "--no-history"], {
      rows: 50,
    });
    chat.type("One");
    chat.press("Enter");
    chat.type("Two");
    chat.press("Enter");
    const screen = await answered(chat, 2);
    expect(screen.match(/^> (One|Two)$/gm)).toEqual(["> One", "> Two"]);
  });

  it("wraps at words, and goes on doing so in another size", async () => {
    const chat = await open(["-m", tinyModel, "--temp", "0", "-n", "60", "--ignore-eos", "--no-history"], {
      columns: 40,
      rows: 60,
    });
    chat.type("Begin");
    chat.press("Enter");
    const wide = answerOf(await answered(chat, 1), 0);
    expect(wide.length).toBeGreaterThan(3);
    chat.resize(30, 60);
    chat.type("/regenerate");
    chat.press("Enter");
    const screen = await answered(chat, 2);
    const narrow = answerOf(screen, 1);
    // The same words, each of them whole.
    expect(narrow.join(" ").replaceAll(/\s+/g, " ")).toBe(wide.join(" ").replaceAll(/\s+/g, " "));
    expect(Math.max(...narrow.map((line) => line.length))).toBeLessThanOrEqual(30);
    expect(narrow.length).toBeGreaterThan(wide.length);
  });

  it("runs until the context is full when nobody gives a number", async () => {
    const chat = await open(["-m", tinyModel, "--temp", "0", "--ignore-eos", "--no-history"], { rows: 60 });
    chat.type("Go on");
    chat.press("Enter");
    await chat.shows("stopped by context");
  });
});

/** The lines between the nth message and the line under its answer. */
function answerOf(screen: string, n: number): string[] {
  const lines = screen.split("\n");
  const ends = lines.flatMap((line, i) => (/^\d+ tokens?/.test(line) ? [i] : []));
  const end = ends[n] ?? 0;
  let start = end;
  while (start > 0 && !lines[start - 1]?.startsWith(">")) start--;
  return lines.slice(start, end).map((line) => line.trimEnd());
}
