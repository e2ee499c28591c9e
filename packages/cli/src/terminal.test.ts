import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { cut, dim, startProgress, startStatus } from "./terminal.ts";

const { isTTY, columns } = process.stderr;
beforeEach(() => {
  for (const name of ["NO_COLOR", "FORCE_COLOR", "TERM"]) vi.stubEnv(name, undefined);
});
afterEach(() => {
  Object.assign(process.stderr, { isTTY, columns });
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

it.each<[boolean, Record<string, string>, boolean]>([
  [true, {}, true],
  [false, {}, false],
  [true, { NO_COLOR: "" }, true],
  [true, { NO_COLOR: "1" }, false],
  [true, { TERM: "dumb" }, false],
  [false, { FORCE_COLOR: "1" }, true],
  [true, { FORCE_COLOR: "0" }, false],
  [true, { FORCE_COLOR: "false" }, false],
  [true, { FORCE_COLOR: "1", TERM: "dumb" }, true],
  [true, { FORCE_COLOR: "1", NO_COLOR: "1" }, false],
])("on a terminal: %j, with %j, letters are faint: %j", (isTerminal, environment, expected) => {
  process.stderr.isTTY = isTerminal;
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  expect(dim("x")).toBe(expected ? "\u001b[2mx\u001b[22m" : "x");
});

it.each<[boolean, string, boolean]>([
  [true, "xterm", true],
  [true, "dumb", false],
  [false, "xterm", false],
])("on a terminal: %j, of kind %s, there are bars: %j", (isTerminal, kind, expected) => {
  process.stderr.isTTY = isTerminal;
  vi.stubEnv("TERM", kind);
  const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  vi.spyOn(performance, "now").mockReturnValueOnce(0).mockReturnValue(1e6);
  const progress = startProgress("Loading");
  progress.update(0.5);
  progress.end();
  const status = startStatus();
  status.update(0.5, "at work");
  status.end();
  expect(write.mock.calls.length > 0).toBe(expected);
  if (expected) expect(write.mock.calls.flat().join("")).toMatch(/Loading.*50%.*at work/s);
});

it.each([
  ["Loading a model", 8, "Loading"],
  ["漢字漢字", 6, "漢字"],
  ["👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", 6, "👩‍👩‍👧👩‍👩‍👧"],
  // Names of files may stand in it.
  ["a\u001b[2J\nb\u202e", 80, "a\\u001b[2J\\nb\\u202e"],
])("%j is cut to a line of %i cells, the last of them left free", (text, cells, line) => {
  process.stderr.columns = cells;
  expect(cut(text)).toBe(line);
});
