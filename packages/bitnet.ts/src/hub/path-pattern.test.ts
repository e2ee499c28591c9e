import { expect, it } from "vitest";
import { pathMatcher } from "./path-pattern.ts";

it.each([
  ["data/train-*.parquet", "data/train-00000-of-00002.parquet", true],
  ["data/train-*.parquet", "data/more/train-0.parquet", false],
  ["*.csv", "data/a.csv", false],
  ["**/*.csv", "a.csv", true],
  ["**/*.csv", "x/y/a.csv", true],
  ["data/**", "data/x/y.csv", true],
  ["data/**", "database/y.csv", false],
  ["data/**/part.csv", "data/part.csv", true],
  ["train-[0-9][0-9].csv", "train-07.csv", true],
  ["train-[0-9][0-9].csv", "train-x7.csv", false],
  ["[!t]rain.csv", "brain.csv", true],
  ["[!t]rain.csv", "train.csv", false],
  ["[]x].csv", "].csv", true],
  ["?.csv", "é.csv", true],
  ["a.csv", "abcsv", false],
  ["a[b.csv", "a[b.csv", true],
  // What is hidden is spelled out.
  ["**", ".git/x.csv", false],
  [".git/*", ".git/x.csv", true],
  ["**/*.csv", "__pycache__/x.csv", false],
  ["__data/*.csv", "__data/x.csv", true],
])("%s and %s: %s", (pattern, path, expected) => {
  expect(pathMatcher(pattern)(path)).toBe(expected);
});

it("takes no longer for patterns that are made to", () => {
  const matches = pathMatcher(`${"**/".repeat(50)}${"*a".repeat(60)}b`);
  expect(matches(`${"x/".repeat(7)}${"a".repeat(200)}`)).toBe(false);
});
