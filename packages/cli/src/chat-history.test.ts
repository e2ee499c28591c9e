/** The messages of earlier sessions: what is kept, how much of it, and that nothing about it ends a chat. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { historyPath, noHistory, openHistory } from "./chat-history.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-history-"));
  path = join(folder, "state", "history");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const linesIn = () => readFileSync(path, "utf8").split("\n").slice(0, -1);

it("keeps messages whole, oldest first, for the next session", () => {
  const first = openHistory(path);
  expect(first.entries).toEqual([]);
  for (const message of ["one", "two\nlines", "漢字 \u001b[31m"]) first.add(message);
  expect(openHistory(path).entries).toEqual(["one", "two\nlines", "漢字 \u001b[31m"]);
});

it("leaves out damaged lines, and goes on behind one that was cut short", () => {
  mkdirSync(join(folder, "state"));
  writeFileSync(path, '"one"\nnonsense\n7\n"tw');
  const history = openHistory(path);
  expect(history.entries).toEqual(["one"]);
  history.add("three");
  expect(openHistory(path).entries).toEqual(["one", "three"]);
});

it("offers the last thousand, and writes itself anew before it is twice as long", () => {
  mkdirSync(join(folder, "state"));
  writeFileSync(path, Array.from({ length: 1999 }, (_, i) => `"${i}"\n`).join(""));
  const history = openHistory(path);
  expect(history.entries).toHaveLength(1000);
  expect(history.entries[0]).toBe("999");
  history.add("a");
  expect(linesIn()).toHaveLength(2000);
  history.add("b");
  expect([linesIn().length, linesIn()[0], ...linesIn().slice(-2)]).toEqual([1001, '"1000"', '"a"', '"b"']);
});

it("is none where it cannot be read or written, without a word", () => {
  writeFileSync(join(folder, "state"), "a file in the place of the folder");
  const history = openHistory(path);
  history.add("lost");
  expect(history.entries).toEqual([]);
  noHistory.add("lost");
  expect(noHistory.entries).toEqual([]);
});

it("lies where the system keeps state", () => {
  expect(historyPath({ XDG_STATE_HOME: folder })).toBe(join(folder, "bitnet", "history"));
  expect(historyPath({ XDG_STATE_HOME: "" })).toMatch(/bitnet[/\\]history$/);
});
