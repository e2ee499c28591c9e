/**
 * Writes the results of the benches into BENCHMARKS.md, between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`:
 * `node build/scripts/benchmark-tables.js`, or `npm run bench -- all`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { benches } from "../bench/benches.ts";
import { disturbanceLine, machineLine, rooflineText } from "../bench/harness/report.ts";
import {
  type BenchResult,
  type Cell,
  columnTitle,
  formatCell,
  type Unit,
  verdictLine,
} from "../bench/harness/result.ts";
import { numberIn, readResult, repository } from "./bench-results.ts";

/** Of a hundred rows, those that a reader compares; the others are in the JSON. */
const chosenKernels = /^ternary decode, 6912|2560, (1|16|128) activations$/;

const path = join(repository, "BENCHMARKS.md");
const markers = /(<!-- bench:([\w-]+) -->\n)[\s\S]*?(<!-- \/bench:\2 -->)/g;
const text = readFileSync(path, "utf8").replaceAll(
  markers,
  (_, open: string, name: string, close: string) => {
    if (name === "summary") return `${open}${summary()}${close}`;
    const result = readResult(name);
    return `${open}${result === null ? "Not measured yet.\n" : sectionOf(result)}${close}`;
  },
);
writeFileSync(path, text);

function sectionOf(result: BenchResult): string {
  const { rooflines, verdicts, notes, disturbance } = result;
  const facts = [
    `Machine: ${machineLine(result)}.`,
    `Date: ${result.date.slice(0, 10)}. Command: \`${result.command}\`. Instruction set: ${result.isa}; threads: ${result.threads}.`,
    ...samplerLine(result),
    ...(rooflines.length === 0 ? [] : [`Rooflines: ${rooflines.map(rooflineText).join("; ")}.`]),
    ...(disturbance === null ? [] : [`In the median run, ${disturbanceLine(disturbance)}.`]),
  ];
  const list = [...verdicts.map(verdictLine), ...notes].map((line) => `- ${line}`);
  return `${facts.join("\n")}\n\n${tableOf(result)}\n\n${list.join("\n")}\n`.replace(/\n{3,}/g, "\n\n");
}

/** Nothing where a column tells, or no token is chosen. */
function samplerLine({ bench }: BenchResult): string[] {
  const sampler = benches.find(({ name }) => name === bench)?.sampler ?? null;
  return sampler === null || sampler === "by row" ? [] : [`Sampler: ${sampler}.`];
}

/** A handful of figures of the other sections, for who reads no more. Those of benches that have not been run are left out. */
function summary(): string {
  const peers = readResult("peers");
  const [load, memory, batch] = [readResult("load"), readResult("memory"), readResult("batch")];
  const own = peers?.rows.find(({ engine }) => engine === `bitnet.ts ${peers.isa}`);
  const other = peers?.rows[0];
  const stage = memory?.rows[1];
  const sixteen = batch?.rows.find(({ sequences }) => sequences === 16);
  const figure = (cell: Cell | undefined, unit: Unit) => `${formatCell(cell ?? null, unit)} ${unit}`;
  const lines = [
    own &&
      other &&
      `generation: ${figure(own.decode, "tok/s")} (${other.engine}: ${figure(other.decode, "tok/s")})`,
    own &&
      other &&
      `a prompt of 128: ${figure(own.prefill, "tok/s")} (${other.engine}: ${figure(other.prefill, "tok/s")})`,
    load?.rows[0] && `from opening the file to the first token: ${figure(load.rows[0].total, "ms")}`,
    stage &&
      `memory after it: ${figure(stage.private, "MB")} beside the mapped file of ${figure(stage.mapped, "MB")}`,
    sixteen &&
      `sixteen sequences together: ${figure(sixteen.together, "tok/s")}, ${numberIn(sixteen.gain).toFixed(1)} times one alone`,
  ].filter((line) => typeof line === "string");
  if (peers === null || lines.length === 0) return "Not measured yet.\n";
  const machine = `The 2B-4T shape with greedy sampling on ${peers.threads} threads of ${machineLine(peers)} (${peers.isa}), ${peers.date.slice(0, 10)}:`;
  return `${machine}\n\n${lines.map((line) => `- ${line}`).join("\n")}\n`;
}

function tableOf({ bench, columns, rows: all }: BenchResult): string {
  const rows = bench === "kernels" ? all.filter(({ kernel }) => chosenKernels.test(String(kernel))) : all;
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    line(columns.map(columnTitle)),
    line(columns.map((_, i) => (i === 0 ? "---" : "---:"))),
    ...rows.map((row) => line(columns.map(({ key, unit }) => formatCell(row[key], unit)))),
  ].join("\n");
}
