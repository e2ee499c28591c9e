/** What a bench reports: the JSON that `--json` writes, and cells and verdicts as people read them. */
import type { Machine } from "./machine.ts";

export interface Roofline {
  /** What the machine could do if it did nothing else. */
  name: string;
  /** Median of the rounds, as of everything that is compared with it. */
  value: number;
  /** Of the rounds, too. */
  best: number;
  /** Bytes or multiply-adds per second. */
  unit: "B/s" | "MAC/s";
  threads: number;
}

/** `share` is shown in percent; other units stand behind the label. */
export type Unit =
  | "tok/s"
  | "ms"
  | "s"
  | "GB/s"
  | "GMAC/s"
  | "MB"
  | "share"
  | "J"
  | "tokens"
  | "sequences"
  | "";

export interface Column {
  key: string;
  label: string;
  unit: Unit;
}

export type Cell = number | string | null;
export type Row = Record<string, Cell>;

export interface Verdict {
  what: string;
  /** null: could not be measured here. */
  measured: number | null;
  unit: Unit | "×";
  wanted: number;
  /** Whether `wanted` is the least or the most. */
  bound: "least" | "most";
  /** Why it was not measured, or under which condition it was. */
  remark?: string;
}

export interface BenchBody {
  /** Sizes or files; empty where no model takes part. */
  models: string[];
  isa: string;
  threads: number;
  rooflines: Roofline[];
  columns: Column[];
  rows: Row[];
  verdicts: Verdict[];
  notes: string[];
  /** Share of the machine's time that others took; null where unknown. */
  disturbance: number | null;
}

export interface BenchResult extends BenchBody {
  bench: string;
  question: string;
  /** ISO 8601. */
  date: string;
  command: string;
  quick: boolean;
  machine: Machine;
}

function isMet({ measured, wanted, bound }: Verdict): boolean {
  if (measured === null) return false;
  return bound === "least" ? measured >= wanted : measured <= wanted;
}

/** `pass: decode 2.31 ×, wanted at least 2.1 ×` */
export function verdictLine(verdict: Verdict): string {
  const { what, measured, unit, wanted, bound, remark } = verdict;
  const tail = remark === undefined ? "" : ` (${remark})`;
  const goal = `wanted at ${bound} ${formatNumber(wanted, unit)}`;
  if (measured === null) return `not measured: ${what}, ${goal}${tail}`;
  return `${isMet(verdict) ? "pass" : "FAIL"}: ${what} ${formatNumber(measured, unit)}, ${goal}${tail}`;
}

export function columnTitle({ label, unit }: Column): string {
  return unit === "share" || unit === "" ? label : `${label} (${unit})`;
}

export function formatCell(cell: Cell | undefined, unit: Unit): string {
  if (cell === null || cell === undefined) return "–";
  if (typeof cell === "string") return cell;
  return unit === "share" ? formatNumber(cell, unit) : formatDigits(cell);
}

function formatNumber(value: number, unit: Verdict["unit"]): string {
  if (unit === "share") return `${formatDigits(100 * value)} %`;
  return unit === "" ? formatDigits(value) : `${formatDigits(value)} ${unit}`;
}

/** Three significant digits, integers whole. */
function formatDigits(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return Math.abs(value) < 0.001 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
}
