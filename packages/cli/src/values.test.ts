import { describe, expect, it } from "vitest";
import {
  collect,
  parseFraction,
  parseInteger,
  parseLogitBias,
  parseNumber,
  parseNumberFrom,
  parsePositive,
  parseShare,
} from "./values.ts";

describe("numbers", () => {
  it("reads what is a number", () => {
    expect(["0.5", "-2", "+3", ".25", "7.", "1e-3", " 4 "].map(parseNumber)).toEqual([
      0.5, -2, 3, 0.25, 7, 0.001, 4,
    ]);
  });

  it.each(["", " ", "abc", "1x", "0,7", "0x10", "NaN", "Infinity", "1e999", "--1", "1 2"])(
    "refuses %j",
    (text) => {
      expect(() => parseNumber(text)).toThrow("Expected a number.");
    },
  );

  it("holds ranges, borders included or not", () => {
    expect(parseInteger(-1)("-1")).toBe(-1);
    expect(() => parseInteger(-1)("-2")).toThrow("from -1 up");
    expect(() => parseInteger(1, 8)("9")).toThrow("from 1 to 8");
    expect(() => parseInteger(0)("1.5")).toThrow("an integer");
    expect(parseNumberFrom(0)("0")).toBe(0);
    expect(() => parseNumberFrom(0)("-1")).toThrow("from 0 up");
    expect(() => parsePositive("0")).toThrow("above 0");
    expect(parseShare("1")).toBe(1);
    expect(() => parseShare("0")).toThrow("above 0 and at most 1");
    expect(parseFraction("0")).toBe(0);
    expect(() => parseFraction("1.01")).toThrow("from 0 to 1");
  });
});

describe("lists", () => {
  it("collects a repeatable option without touching the earlier list", () => {
    const first = collect("a", undefined);
    expect(collect("b", first)).toEqual(["a", "b"]);
    expect(first).toEqual(["a"]);
  });

  it("reads biases, repeated or separated by commas", () => {
    const first = parseLogitBias("15=-1.5", undefined);
    expect([...parseLogitBias("3:2, 4=-inf", first)]).toEqual([
      [15, -1.5],
      [3, 2],
      [4, Number.NEGATIVE_INFINITY],
    ]);
    expect(first.size).toBe(1);
  });

  it.each(["3", "=1", "3=", "a=1", "3=x", "3=inf", "1=2,"])("refuses the bias %j", (text) => {
    expect(() => parseLogitBias(text, undefined)).toThrow("Expected ID=VALUE");
  });
});
