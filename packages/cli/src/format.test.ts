import { describe, expect, it } from "vitest";
import {
  formatApart,
  formatBytes,
  formatMs,
  formatRate,
  formatTable,
  median,
  plural,
  printable,
} from "./format.ts";
import { renderBar } from "./terminal.ts";

describe("format", () => {
  it("bytes have three digits and decimal units", () => {
    expect([0, 999, 1000, 999_600, 1_183_186_880, 5e15].map(formatBytes)).toEqual([
      "0 B",
      "999 B",
      "1.00 kB",
      "1.00 MB",
      "1.18 GB",
      "5.00e+3 TB",
    ]);
  });

  it("two sizes can be told apart", () => {
    expect(formatApart(2e9, 1e9)).toEqual(["2.00 GB", "1.00 GB"]);
    expect(formatApart(1_000_000_001, 1_000_000_000)).toEqual(["1,000,000,001 bytes", "1,000,000,000 bytes"]);
  });

  it("times, rates, counts", () => {
    expect([formatMs(0.4), formatMs(999), formatMs(1500)]).toEqual(["0 ms", "999 ms", "1.50 s"]);
    expect([formatRate(12.34), formatRate(812.3)]).toEqual(["12.3 tok/s", "812 tok/s"]);
    expect([plural(1, "token"), plural(1234, "token")]).toEqual(["1 token", "1,234 tokens"]);
  });

  it("tables align their columns", () => {
    expect(
      formatTable([
        ["a", "bb"],
        ["ccc", "d", "e"],
      ]),
    ).toBe("a    bb\nccc  d   e");
    // In cells: two for each of these.
    expect(
      formatTable([
        ["漢字", "x"],
        ["👩‍👩‍👧", "y"],
        ["abc", "z"],
      ]),
    ).toBe("漢字  x\n👩‍👩‍👧    y\nabc   z");
  });

  it("control characters cannot reach the terminal", () => {
    expect(printable("a\u001b[31m\n\t\u0085\u2028\u202eé")).toBe("a\\u001b[31m\\n\\t\\u0085\\u2028\\u202eé");
  });

  it("median", () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([5])]).toEqual([2, 2.5, 5]);
  });

  it("bar", () => {
    expect(renderBar(0.5)).toBe(`[${"█".repeat(15)}${"░".repeat(15)}]  50%`);
    expect(renderBar(1.5)).toBe(`[${"█".repeat(30)}] 100%`);
  });
});
