/**
 * Records the picture of the README: a chat with the embedded model in a real terminal (tmux, Debian's package), drawn as SVG. What belongs to
 * the machine, its speed and its instruction set, is taken out, so that the same model gives the same picture anywhere. Needs no network.
 * Usage: npm run record
 */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";
import { terminalSvg } from "./terminal-svg.ts";

const root = resolve(import.meta.dirname, "..", "..");
const path = join(root, "docs", "public", "terminal.svg");
const [columns, rows] = [88, 40];
const prompt = "> ";
const messages = ["Hello!", "Tell me a story about a dragon.", "What is 7 + 5?"];
const command = "npx bitnet.ts chat --seed 1";
const patienceMs = 60_000;
const socket = `bitnet-record-${process.pid}`;

function tmux(...args: string[]): string {
  const env = { ...process.env, LC_ALL: "C.UTF-8", TERM: "xterm-256color" };
  return execFileSync("tmux", ["-L", socket, ...args], { encoding: "utf8", env });
}

const screen = (): string[] => tmux("capture-pane", "-e", "-p", "-J").trimEnd().split("\n");

/** Asks again and again, since a terminal tells nobody that it has changed. */
async function until(isThere: (lines: readonly string[]) => boolean): Promise<void> {
  const start = performance.now();
  while (!isThere(screen().map(stripVTControlCharacters))) {
    if (performance.now() - start > patienceMs)
      throw new Error(`record: nothing more came:\n${screen().join("\n")}`);
    await delay(50);
  }
}

async function record(): Promise<string[]> {
  const bitnet = [process.execPath, join(root, "packages", "cli", "bin", "bitnet.js"), "chat"];
  const size = ["-x", String(columns), "-y", String(rows)];
  tmux(
    "-f",
    "/dev/null",
    "new-session",
    "-d",
    ...size,
    "-e",
    "NO_COLOR=",
    ...bitnet,
    "--seed",
    "1",
    "--no-history",
  );
  const isReady = (n: number) => (lines: readonly string[]) =>
    lines.at(-1)?.trim() === prompt.trim() &&
    lines.filter((line) => line.startsWith(prompt.trim())).length === n + 1;
  for (const [n, message] of messages.entries()) {
    await until(isReady(n));
    tmux("send-keys", "-l", message);
    tmux("send-keys", "Enter");
  }
  await until(isReady(messages.length));
  return screen().slice(0, -1);
}

if (spawnSync("tmux", ["-V"]).status !== 0)
  throw new Error("record: tmux is needed (Debian: apt install tmux)");
try {
  const lines = (await record()).map((line) =>
    line.replace(/ at [\d.,]+k? tok\/s/, "").replace(/(native|wasm|reference)\/\w+/, "$1"),
  );
  const picture = {
    title: command,
    columns,
    lines: [`$ ${command}`, ...lines],
    isTyped: (line: string) => line.startsWith(prompt),
  };
  writeFileSync(path, terminalSvg(picture));
  process.stderr.write(`record: ${path}\n`);
} finally {
  spawnSync("tmux", ["-L", socket, "kill-server"]);
}
