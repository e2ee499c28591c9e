/** Numbers and tables as people read them. */
import stringWidth from "string-width";
import { harmful } from "./visible.ts";

const byteUnits = ["B", "kB", "MB", "GB", "TB"] as const;

/** `1.19 GB`: decimal units, three significant digits. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${byteUnits[unit]}`;
}

/** Two sizes as `formatBytes` writes them, or to the byte where that would be the same. */
export function formatApart(a: number, b: number): [string, string] {
  const [left, right] = [formatBytes(a), formatBytes(b)];
  return left === right ? [`${formatCount(a)} bytes`, `${formatCount(b)} bytes`] : [left, right];
}

/** `12,345` */
export function formatCount(n: number): string {
  return n.toLocaleString("en-US");
}

/** `1 thread`, `2 threads` */
export function plural(n: number, noun: string): string {
  return `${formatCount(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** `812 ms`, `4.07 s` */
export function formatMs(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** `12.3 tok/s` */
export function formatRate(tokensPerSecond: number): string {
  return `${tokensPerSecond.toFixed(tokensPerSecond < 100 ? 1 : 0)} tok/s`;
}

/** Left-aligned columns two spaces apart, one line per row; wide characters and emoji count their cells. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, stringWidth(cell));
    });
  return rows
    .map((row) =>
      row
        .map((cell, i) => padded(cell, widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function padded(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - stringWidth(cell)));
}

/** One line of a text from a file, without what could drive the terminal or turn the direction of what follows. */
export function printable(text: string): string {
  return text.replace(harmful, (character) => {
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Middle value; the mean of the two middle ones for an even count. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  return ((sorted[Math.ceil(half) - 1] ?? 0) + (sorted[Math.floor(half)] ?? 0)) / 2;
}
