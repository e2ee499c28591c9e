/** A result as text for a terminal. */
import { type BenchResult, columnTitle, formatCell, type Roofline, verdictLine } from "./result.ts";

export function reportText(result: BenchResult): string {
  const { machine, rooflines, verdicts, notes } = result;
  const head = [
    result.question,
    `machine: ${machineLine(result)}`,
    `date: ${result.date}`,
    `command: ${result.command}`,
    ...result.models.map((model) => `model: ${model}`),
    `instruction set: ${result.isa}, of ${machine.isas.join(", ")}; threads: ${result.threads}`,
    ...rooflines.map((roofline) => `roofline: ${rooflineText(roofline)}`),
    ...(result.disturbance === null ? [] : [disturbanceLine(result.disturbance)]),
    ...(result.quick ? ["quick: these numbers mean nothing"] : []),
  ];
  return [...head, "", tableText(result), ...verdicts.map(verdictLine), ...notes].join("\n");
}

export function machineLine({ machine }: BenchResult): string {
  const cache = machine.lastLevelCache === null ? "" : `, ${machine.lastLevelCache} last-level cache`;
  const memory = `${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB`;
  return `${machine.cpu}, ${machine.cores} cores${cache}, ${memory}, ${machine.os}, Node ${machine.node}`;
}

export function rooflineText({ name, value, best, unit, threads }: Roofline): string {
  const amount = (rate: number) => (unit === "B/s" ? (rate / 1e9).toFixed(1) : (rate / 1e9).toFixed(0));
  const peak = amount(best) === amount(value) ? "" : ` (best ${amount(best)})`;
  const per = unit === "B/s" ? "GB/s" : "GMAC/s";
  return `${name}, ${threads} ${threads === 1 ? "thread" : "threads"}: ${amount(value)} ${per}${peak}`;
}

export function disturbanceLine(share: number): string {
  return `others took ${(100 * share).toFixed(0)} % of the machine's time meanwhile`;
}

function tableText({ columns, rows }: BenchResult): string {
  const cells = [
    columns.map(columnTitle),
    ...rows.map((row) => columns.map(({ key, unit }) => formatCell(row[key], unit))),
  ];
  const widths = columns.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  return cells
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))),
    )
    .map((row) => row.join("  ").trimEnd())
    .join("\n");
}
