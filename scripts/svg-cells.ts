/** Rows of labelled cells as a drawing: what stands where in memory. */
import { colourOf, type Drawing, escapeXml, ink, round, text, width } from "./svg-document.ts";

export interface Cell {
  text: string;
  /** What it belongs to: cells of one name have one colour; "gap", "head" and "plain" have none. */
  of: string;
  /** In units of the narrowest; default 1. */
  width?: number;
}

export interface CellRow {
  label: string;
  cells: readonly Cell[];
}

const left = 130;
const rowHeight = 30;
const uncoloured = new Set(["gap", "head", "plain"]);

export function cellRow(label: string, cells: readonly Cell[]): CellRow {
  return { label, cells };
}

export function drawRows(title: string, rows: readonly CellRow[], notes: readonly string[]): Drawing {
  const names = rows.flatMap(({ cells }) => cells.map(({ of }) => of));
  const kinds = [...new Set(names.filter((name) => !uncoloured.has(name)))].sort();
  const top = 36;
  const body = rows.map((row, i) => drawRow(row, top + i * rowHeight, kinds));
  const lines = notes.flatMap((note) => wrapped(note, 100));
  const below = top + rows.length * rowHeight + 20;
  return {
    height: below + 18 * lines.length,
    body: [
      text(title, 12, 22, { weight: "bold" }),
      ...body,
      ...lines.map((line, i) => text(line, 12, below + 18 * i)),
    ].join("\n"),
  };
}

function drawRow({ label, cells }: CellRow, y: number, kinds: readonly string[]): string {
  const units = cells.reduce((sum, cell) => sum + widthOf(cell), 0);
  const unit = (width - left - 12) / units;
  let x = left;
  const drawn = cells.map((cell) => {
    const own = unit * widthOf(cell);
    const at = x;
    x += own;
    return drawCell(cell, { x: at, y, width: own }, kinds);
  });
  return [text(label, left - 10, y + 19, { anchor: "end" }), ...drawn].join("\n");
}

/** Gaps are narrow. */
function widthOf({ of, width: units = 1 }: Cell): number {
  return of === "gap" ? 0.4 : units;
}

function drawCell(
  { text: content, of }: Cell,
  { x, y, width: own }: { x: number; y: number; width: number },
  kinds: readonly string[],
): string {
  const label = `<text x="${round(x + own / 2)}" y="${y + 19}" text-anchor="middle" font-size="12">${escapeXml(content)}</text>`;
  if (of === "gap" || of === "head") return label;
  const colour = uncoloured.has(of) ? ink : colourOf(kinds.indexOf(of));
  const box = `<rect x="${round(x + 1)}" y="${y + 2}" width="${round(own - 2)}" height="${rowHeight - 4}" rx="3"`;
  return `${box} fill="${colour}" fill-opacity="0.18" stroke="${colour}"/>\n${label}`;
}

function wrapped(text: string, most: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last !== "" && last.length + word.length + 1 > most) lines.push(word);
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return lines;
}
