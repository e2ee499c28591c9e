/** Reads the lines of the kernels' bench: `ISA kernel: VALUE UNIT, SHARE % of …`; its other lines are kept as they are. */
import type { Roofline, Row } from "./result.ts";

const linePattern = /^(\S+)\s+(.+?)\s*:\s+([\d.]+) (GB|GMAC)\/s(?:,\s+(\d+) %)?/;

export interface KernelLines {
  rows: Row[];
  /** The bare loops. */
  rooflines: Roofline[];
  /** Lines of another kind. */
  notes: string[];
}

export function parseKernelLines(text: string): KernelLines {
  const found: KernelLines = { rows: [], rooflines: [], notes: [] };
  for (const line of text.split("\n").filter((each) => each.trim() !== "")) {
    const [, isa, kernel = "", value, unit, percent] = linePattern.exec(line) ?? [];
    if (isa === undefined) found.notes.push(line.replaceAll(/\s+/g, " "));
    else if (kernel.startsWith("bare "))
      found.rooflines.push({
        name: kernel === "bare read" ? `bare read (${isa} run)` : `bare ${isa} multiply`,
        value: Number(value) * 1e9,
        best: Number(value) * 1e9,
        unit: unit === "GB" ? "B/s" : "MAC/s",
        threads: 1,
      });
    else
      found.rows.push({
        isa,
        kernel: kernel.replaceAll(/\s+/g, " "),
        gigabytes: unit === "GB" ? Number(value) : null,
        gigamacs: unit === "GMAC" ? Number(value) : null,
        share: percent === undefined ? null : Number(percent) / 100,
      });
  }
  return found;
}
