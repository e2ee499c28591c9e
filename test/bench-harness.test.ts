/** The parts of the benches that compute instead of measuring, and the charts that are drawn from their results. */
import { describe, expect, it } from "vitest";
import { parseKernelLines } from "../bench/harness/kernel-lines.ts";
import { leastSquaresLine, straightestLine } from "../bench/harness/line-fit.ts";
import { watchOthers } from "../bench/harness/machine.ts";
import { decodeBytes } from "../bench/harness/model-cost.ts";
import { parseOptions } from "../bench/harness/options.ts";
import { columnTitle, formatCell, type Verdict, verdictLine } from "../bench/harness/result.ts";
import { sampleInTurn } from "../bench/harness/sampling.ts";
import { drawBars, drawLines, ticks } from "../scripts/svg-chart.ts";
import { svgDocument } from "../scripts/svg-document.ts";

describe("line", () => {
  const methods = { leastSquaresLine, straightestLine };

  it.each(Object.entries(methods))("%s goes through points that lie on one", (_, lineThrough) => {
    const line = lineThrough([1, 3, 10].map((x) => ({ x, y: 2 + 5 * x })));
    expect(line.intercept).toBeCloseTo(2, 9);
    expect(line.slope).toBeCloseTo(5, 9);
    expect(line.largestDeviation).toBeLessThan(1e-9);
  });

  it("of least squares counts small points as much as large ones", () => {
    const points = [1, 10, 100, 1000].map((x) => ({ x, y: x }));
    points[0] = { x: 1, y: 1.2 };
    const { largestDeviation, slope } = leastSquaresLine(points);
    expect(slope).toBeGreaterThan(0.9);
    expect(slope).toBeLessThan(1.1);
    expect(largestDeviation).toBeGreaterThan(0.01);
    expect(largestDeviation).toBeLessThan(0.2);
  });

  it("that is the straightest leaves three points equally far off, on alternate sides", () => {
    // 12 % off: 2 + 3x at x = 1, 10 and 100, by turns above and below; 50 lies closer.
    const points = [
      { x: 1, y: 5 / 0.88 },
      { x: 10, y: 32 / 1.12 },
      { x: 50, y: 152 },
      { x: 100, y: 302 / 0.88 },
    ];
    const line = straightestLine(points);
    expect(line.intercept).toBeCloseTo(2, 9);
    expect(line.slope).toBeCloseTo(3, 9);
    expect(line.largestDeviation).toBeCloseTo(0.12, 9);
    expect(leastSquaresLine(points).largestDeviation).toBeGreaterThan(0.121);
  });

  it("that is the straightest has no better one beside it", () => {
    const shares = [0, 9, 7, -3, 1, -6];
    const points = [46, 220, 370, 853, 912, 1754].map((x, i) => ({
      x,
      y: (0.3 + 0.04 * x) * (1 + (shares[i] ?? 0) / 100),
    }));
    const best = straightestLine(points);
    for (let turn = 0; turn < 16; turn++) {
      const intercept = best.intercept + 1e-3 * Math.cos((turn * Math.PI) / 8);
      const slope = best.slope + 1e-5 * Math.sin((turn * Math.PI) / 8);
      const worst = Math.max(...points.map(({ x, y }) => Math.abs(y - (intercept + slope * x)) / y));
      expect(worst).toBeGreaterThan(best.largestDeviation);
    }
  });

  it.each(Object.entries(methods))("%s needs two different points", (_, lineThrough) => {
    expect(() => lineThrough([{ x: 1, y: 1 }])).toThrow(RangeError);
    expect(() =>
      lineThrough([
        { x: 2, y: 1 },
        { x: 2, y: 2 },
      ]),
    ).toThrow(RangeError);
  });
});

it("bytes of a token follow from the size", () => {
  // 30 layers of 2560 × (2 · 2560 + 2 · 640 + 3 · 6912) weights in 2 bits, the head in 16, norms in 32.
  const body = (30 * 2560 * (2 * 2560 + 2 * 640 + 3 * 6912)) / 4;
  const norms = 4 * (30 * (3 * 2560 + 6912) + 2560);
  expect(decodeBytes("2b-4t")).toBe(body + 2 * 128256 * 2560 + norms);
  // Rows of 5460 weights take 43 blocks of 128.
  expect(decodeBytes("1.3b") % 32).toBe(0);
  expect(() => decodeBytes("9b")).toThrow(/9b/);
});

it("the lines of the kernels' bench become rows, rooflines and notes", () => {
  const text = [
    "avx2        bare read:   34.7 GB/s",
    "avx2        ternary decode, 2560 columns:   25.2 GB/s,  73 % of a bare read",
    "avx2        per key of 128 (f16): score 3.6 ns, values 2.5 ns, exp 0.31 ns",
    "avx2        bare multiply loop:  214.4 GMAC/s",
    "avx2        ternary 6912 × 2560,   8 activations:  157.2 GMAC/s,  73 % of the bare loop",
    "",
  ].join("\n");
  expect(parseKernelLines(text)).toEqual({
    rows: [
      { isa: "avx2", kernel: "ternary decode, 2560 columns", gigabytes: 25.2, gigamacs: null, share: 0.73 },
      {
        isa: "avx2",
        kernel: "ternary 6912 × 2560, 8 activations",
        gigabytes: null,
        gigamacs: 157.2,
        share: 0.73,
      },
    ],
    rooflines: [
      { name: "bare read (avx2 run)", value: 34.7e9, best: 34.7e9, unit: "B/s", threads: 1 },
      { name: "bare avx2 multiply", value: 214.4e9, best: 214.4e9, unit: "MAC/s", threads: 1 },
    ],
    notes: ["avx2 per key of 128 (f16): score 3.6 ns, values 2.5 ns, exp 0.31 ns"],
  });
});

it("options are checked", () => {
  expect(parseOptions(["--threads", "2", "--isa", "avx2,scalar"])).toMatchObject({
    threads: 2,
    isas: ["avx2", "scalar"],
    isQuick: false,
    json: null,
    shape: "2b-4t",
  });
  expect(() => parseOptions(["--threads", "0"])).toThrow(/--threads: expected a positive integer, found "0"/);
  expect(() => parseOptions(["--fast"])).toThrow(/--fast/);
});

describe("sampling", () => {
  it("takes the cases in turn, warms up once, and never repeats a run", async () => {
    const order: string[] = [];
    const cases = ["a", "b"].map((name) => ({
      name,
      sample: async (run: number) => {
        order.push(`${name}${run}`);
        return run;
      },
    }));
    const { samples } = await sampleInTurn(cases, { repetitions: 3, attempts: 1 });
    expect(order).toEqual(["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"]);
    expect(samples).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
  });

  it("tries again while others are busy, at most so many times", async () => {
    const runs: number[] = [];
    const one = {
      name: "one",
      sample: async (run: number) => {
        runs.push(run);
        return run;
      },
    };
    // One to warm up; the second is quiet at its second try, the third never; the fourth is not tried again.
    const shares = [1, 0.5, 0.01, 0.3, 0.2, 0.4, 0.9];
    let at = 0;
    const { samples, disturbance } = await sampleInTurn([one], {
      ...{ repetitions: 3, attempts: 3 },
      watch: () => () => shares[at++] ?? null,
    });
    expect(runs).toEqual([0, 3, 4, 6, 7, 8, 9]);
    expect(samples).toEqual([[4, 7, 9]]);
    expect(disturbance).toBe(0.2);
  });

  it("a share of others is a share, or unknown", () => {
    const share = watchOthers([process.pid])();
    if (share !== null) expect(share >= 0 && share <= 1).toBe(true);
  });
});

describe("report", () => {
  it("judges against the bound", () => {
    const verdict: Verdict = { what: "decode", measured: 2.31, unit: "×", wanted: 2.1, bound: "least" };
    expect(verdictLine(verdict)).toBe("pass: decode 2.31 ×, wanted at least 2.1 ×");
    expect(verdictLine({ ...verdict, measured: 2 })).toBe("FAIL: decode 2 ×, wanted at least 2.1 ×");
    expect(verdictLine({ ...verdict, bound: "most" })).toMatch(/^FAIL: .*at most/);
    expect(verdictLine({ ...verdict, unit: "share", measured: 0.756, wanted: 0.75, remark: "2 cores" })).toBe(
      "pass: decode 75.6 %, wanted at least 75 % (2 cores)",
    );
    expect(verdictLine({ ...verdict, measured: null })).toBe("not measured: decode, wanted at least 2.1 ×");
  });

  it("shows numbers with three digits", () => {
    expect([1234.5, 12.345, 0.5, 3, 0, null].map((cell) => formatCell(cell, "ms"))).toEqual([
      "1,235",
      "12.3",
      "0.5",
      "3",
      "0",
      "–",
    ]);
    expect(formatCell(0.5, "share")).toBe("50 %");
    expect(columnTitle({ key: "x", label: "decode", unit: "tok/s" })).toBe("decode (tok/s)");
    expect(columnTitle({ key: "x", label: "share", unit: "share" })).toBe("share");
  });
});

describe("charts", () => {
  it("have ticks at round numbers that cover the values", () => {
    expect(ticks(36)).toEqual([0, 10, 20, 30, 40]);
    expect(ticks(0.9)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(ticks(1000)).toEqual([0, 200, 400, 600, 800, 1000]);
    expect(ticks(0)).toEqual([0, 1]);
  });

  it("name their axes and stay inside the picture", () => {
    const svg = svgDocument([
      drawLines({
        title: "A < B",
        xLabel: "tokens",
        yLabel: "tokens per second",
        xScale: "log2",
        series: [
          { name: "one", points: [1, 2, 4].map((x) => ({ x, y: 10 * x })) },
          { name: "two", points: [{ x: 1, y: 3 }], marks: "dots" },
        ],
      }),
      drawBars({
        title: "Bars",
        xLabel: "GB/s",
        bars: [{ label: "read", value: 20, limit: 30 }],
        limitLabel: "bare read",
      }),
    ]);
    for (const part of ["A &lt; B", "tokens per second", ">tokens<", "GB/s", "bare read", ">one<", ">two<"])
      expect(svg).toContain(part);
    const [, width = 0, height = 0] = (/viewBox="0 0 (\d+) (\d+)"/.exec(svg) ?? []).map(Number);
    const within = (pattern: RegExp, most: number) => {
      const values = [...svg.matchAll(pattern)].map(([, value]) => Number(value));
      expect(values.length).toBeGreaterThan(0);
      for (const value of values) expect(value >= 0 && value <= most, `${value}`).toBe(true);
    };
    within(/ c?x[12]?="(-?[\d.]+|NaN)"/g, width);
    within(/ c?y[12]?="(-?[\d.]+|NaN)"/g, height);
  });
});
