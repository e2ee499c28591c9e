/** Draws bench/results/*.json into docs/bench/*.svg: `node build/scripts/plot-benchmarks.js`, or `npm run bench -- all`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BenchResult, Row } from "../bench/harness/result.ts";
import { numberIn, readResult, repository } from "./bench-results.ts";
import { drawBars, drawLines } from "./svg-chart.ts";
import { svgDocument } from "./svg-document.ts";

type Draw = (result: BenchResult) => ReturnType<typeof drawBars>[];

const plots: Readonly<Record<string, Draw>> = {
  kernels: drawKernels,
  "decode-prefill": drawDecodePrefill,
  "prompt-length": drawPromptLength,
  batch: drawBatch,
  head: drawHead,
  scaling: drawScaling,
  peers: drawPeers,
};

const folder = join(repository, "docs", "bench");
mkdirSync(folder, { recursive: true });
for (const [name, draw] of Object.entries(plots)) {
  const result = readResult(name);
  if (result !== null) writeFileSync(join(folder, `${name}.svg`), svgDocument(draw(result)));
}

/** Behind a name; nothing for the greedy choice. */
function samplerOf({ sampler }: Row): string {
  return sampler === undefined || sampler === "greedy" ? "" : `, ${sampler}`;
}

function xy(rows: readonly Row[], x: string, y: string) {
  return rows
    .map((row) => ({ x: numberIn(row[x]), y: numberIn(row[y]) }))
    .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
}

/** Multiply-adds over the number of activations, for the first shape that the program measures. */
function drawKernels({ rows }: BenchResult) {
  const pattern = /^ternary (\d+ × \d+), (\d+) activations$/;
  const tiles = rows.flatMap((row) => {
    const [, shape, activations] = pattern.exec(String(row.kernel)) ?? [];
    return shape === undefined
      ? []
      : [{ shape, isa: String(row.isa), x: Number(activations), y: numberIn(row.gigamacs) }];
  });
  const shape = tiles[0]?.shape ?? "";
  const isas = [...new Set(tiles.map(({ isa }) => isa))];
  const chart = {
    title: `Ternary matrix ${shape} on one core`,
    xLabel: "rows of activations",
    yLabel: "GMAC/s",
    xScale: "log2",
    series: isas.map((isa) => ({
      name: isa,
      points: tiles.filter((tile) => tile.isa === isa && tile.shape === shape),
    })),
  } as const;
  return tiles.length === 0 ? [] : [drawLines(chart)];
}

function drawDecodePrefill({ rows }: BenchResult) {
  const bars = (key: string, share: string) =>
    rows.map((row) => {
      const value = numberIn(row[key]);
      const limit = value / numberIn(row[share]);
      const label = `${row.isa} × ${row.threads}${samplerOf(row)}`;
      return Number.isFinite(limit) ? { label, value, limit } : { label, value };
    });
  return [
    drawBars({
      title: "Generation",
      xLabel: "tokens per second",
      bars: bars("decode", "decodeShare"),
      limitLabel: "bare read",
    }),
    drawBars({
      title: "Prompt",
      xLabel: "tokens per second",
      bars: bars("prefill", "prefillShare"),
      limitLabel: "bare multiply loop",
    }),
  ];
}

function drawPromptLength({ rows }: BenchResult) {
  const chart = (title: string, key: string) =>
    drawLines({
      title,
      xLabel: "tokens of the prompt",
      yLabel: "tokens per second",
      xScale: "log2",
      series: [{ name: title, points: xy(rows, "length", key) }],
    });
  return [chart("Prompt", "prefill"), chart("Generation behind the prompt", "decode")];
}

function drawBatch({ rows }: BenchResult) {
  return [
    drawLines({
      title: "Sequences that decode together",
      xLabel: "sequences",
      yLabel: "tokens per second, all together",
      xScale: "log2",
      series: [{ name: "together", points: xy(rows, "sequences", "together") }],
    }),
  ];
}

function drawHead({ rows }: BenchResult) {
  const bars = rows.map((row) => ({
    label: `${String(row.sampler).split(",")[0]}, ${row.head}`,
    value: numberIn(row.decode),
  }));
  return [drawBars({ title: "Generation with and without screening", xLabel: "tokens per second", bars })];
}

function drawScaling({ rows }: BenchResult) {
  const points = xy(rows, "megabytes", "tokenMs");
  const fitted = rows.map((row) => ({
    x: numberIn(row.megabytes),
    y: numberIn(row.tokenMs) / (1 + numberIn(row.deviation)),
  }));
  return [
    drawLines({
      title: "Time per token over model size",
      xLabel: "MB read per token",
      yLabel: "ms per token",
      xScale: "linear",
      series: [
        { name: "measured", points, marks: "dots" },
        { name: "straightest line", points: fitted, marks: "line" },
      ],
    }),
  ];
}

function drawPeers({ rows }: BenchResult) {
  const bars = (key: string) =>
    rows.map((row) => ({ label: `${row.engine}${samplerOf(row)}`, value: numberIn(row[key]) }));
  return [
    drawBars({ title: "Generation", xLabel: "tokens per second", bars: bars("decode") }),
    drawBars({ title: "Prompt", xLabel: "tokens per second", bars: bars("prefill") }),
  ];
}
