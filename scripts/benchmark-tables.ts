/**
 * Writes the results of the benches into BENCHMARKS.md, between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`:
 * `node build/scripts/benchmark-tables.js`, or `npm run bench -- all`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { disturbanceLine, machineLine, rooflineText } from "../bench/harness/report.ts";
import { type BenchResult, columnTitle, formatCell, verdictLine } from "../bench/harness/result.ts";
import { readResult, repository } from "./bench-results.ts";

const path = join(repository, "BENCHMARKS.md");
const markers = /(<!-- bench:([\w-]+) -->\n)[\s\S]*?(<!-- \/bench:\2 -->)/g;
const text = readFileSync(path, "utf8").replaceAll(
  markers,
  (_, open: string, name: string, close: string) => {
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
    ...(rooflines.length === 0 ? [] : [`Rooflines: ${rooflines.map(rooflineText).join("; ")}.`]),
    ...(disturbance === null ? [] : [`In the median run, ${disturbanceLine(disturbance)}.`]),
  ];
  const list = [...verdicts.map(verdictLine), ...notes].map((line) => `- ${line}`);
  return `${facts.join("\n")}\n\n${tableOf(result)}\n\n${list.join("\n")}\n`.replace(/\n{3,}/g, "\n\n");
}

function tableOf({ columns, rows }: BenchResult): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    line(columns.map(columnTitle)),
    line(columns.map((_, i) => (i === 0 ? "---" : "---:"))),
    ...rows.map((row) => line(columns.map(({ key, unit }) => formatCell(row[key], unit)))),
  ].join("\n");
}
