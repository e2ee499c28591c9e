/**
 * Draws how weights, activations and the cache lie in memory, for docs/kernels.md: one SVG a layout, bytes from left to right. Where TypeScript
 * packs a layout, what stands in its cells is read out of packed bytes, so that a drawing cannot tell another story than the code.
 */
import { packings, pageTokens } from "@bitnet.ts/core";
import { cellRow, drawRows } from "./svg-cells.ts";
import { svgDocument } from "./svg-document.ts";

/** Rows of a strip and of a block of lanes (native/engine/kernels/kernels.h, stripRows). */
const stripRows = 16;

export const layoutDrawings: Readonly<Record<string, () => string>> = {
  "compute-layout": drawComputeLayout,
  streams: drawStreams,
  "spans-amx": drawAmxSpan,
  "spans-turned": drawTurnedSpan,
  "spans-pairs": drawPairSpan,
  "screen-copy": drawScreenCopy,
  strips: drawStrips,
  lanes: drawLanes,
  groups: drawGroups,
  "cache-page": drawCachePage,
};

/** Which of 128 weights the two bits `shift` of byte `byte` hold, found by packing a +1 there and reading the row. */
function weightAt(byte: number, shift: number): number {
  const shape = { rows: 1, cols: 128 };
  const block = new Uint8Array(packings.i2_s.byteLength(shape)).fill(0b01010101);
  block[byte] = (0b01010101 & ~(3 << shift)) | (2 << shift);
  const row = new Int8Array(shape.cols);
  packings.i2_s.unpackRows(block, shape, 0, 1, row);
  return row.indexOf(1);
}

function drawComputeLayout(): string {
  const shown = [0, 1, 2, 30, 31];
  const bits = [6, 4, 2, 0].map((shift) =>
    cellRow(
      `bits ${shift + 1}, ${shift}`,
      shown.flatMap((byte, i) => [
        ...(i === 3 ? [{ text: "…", of: "gap" }] : []),
        { text: `w ${weightAt(byte, shift)}`, of: `plane ${3 - shift / 2}` },
      ]),
    ),
  );
  const bytes = cellRow(
    "",
    shown.flatMap((byte, i) => [
      ...(i === 3 ? [{ text: "…", of: "gap" }] : []),
      { text: `byte ${byte}`, of: "head" },
    ]),
  );
  return svgDocument([
    drawRows(
      "Weights in memory: a block of 128 in 32 bytes; code = weight + 1",
      [bytes, ...bits],
      [
        "The same two bits of all bytes are a plane: 32 weights that follow each other, and meet 32 activations that do.",
        "A row is padded to whole blocks with code 1; rows follow each other without a gap.",
      ],
    ),
  ]);
}

function drawStreams(): string {
  const rows = Array.from({ length: 4 }, (_, stream) =>
    cellRow(
      `stream ${stream === 3 ? 7 : stream}`,
      ["0", "1", "2", "…", "n − 1"].map((r, i) => ({
        text: i === 3 ? "…" : `row ${stream === 0 ? r : `${stream === 3 ? 7 : stream} n + ${r}`}`,
        of: i === 3 ? "gap" : i === 0 ? "plane 0" : "plain",
      })),
    ),
  );
  return svgDocument([
    drawRows("Streams: a chunk of 8 n rows of weights, read at eight places side by side", rows, [
      "One row of activations takes the coloured rows together, then the next of each stream. Stream 1 lies behind the last row of stream 0.",
    ]),
  ]);
}

function drawAmxSpan(): string {
  const rows = [0, 1, 31].map((row) =>
    cellRow(
      `row ${row}`,
      [0, 1, 2, 3].flatMap((block) => [
        { text: `k ${128 * block} … ${128 * block + 63}`, of: "plane 0" },
        { text: `… ${128 * block + 127}`, of: "plane 1" },
      ]),
    ),
  );
  return svgDocument([
    drawRows("A span for AMX and strips: rows of codes, a byte each", rows, [
      "Codes keep the order of the columns k: 64 of them are a row of a tile. AMX: 32 rows × 512 columns, 16 KiB; AVX2 and AVX-512: 24 rows.",
    ]),
  ]);
}

function drawTurnedSpan(): string {
  const rows = [0, 1, 31].map((step) =>
    cellRow(
      `vector ${step}`,
      [0, 1, 7].flatMap((row, i) => [
        ...(i === 2 ? [{ text: "…", of: "gap" }] : []),
        { text: `row ${row}: k ${4 * step} … ${4 * step + 3}`, of: `plane ${i}` },
      ]),
    ),
  );
  return svgDocument([
    drawRows("A turned span, for tiles of vectors of weights: one block of 8 rows", rows, [
      "A vector holds 4 codes of each row, which meet 4 activations that are broadcast (AVX2 and NEON with 8 … 15 rows of activations, AVX-VNNI).",
    ]),
  ]);
}

function drawPairSpan(): string {
  const rows = [0, 1].map((step) =>
    cellRow(
      `k ${8 * step} … ${8 * step + 7}`,
      [0, 1, 2, 7].flatMap((row, i) => [
        ...(i === 3 ? [{ text: "…", of: "gap" }] : []),
        { text: `row ${row}, 8 codes`, of: `plane ${row >> 1 > 1 ? 3 : row >> 1}` },
      ]),
    ),
  );
  return svgDocument([
    drawRows("A span in pairs, for NEON's matrix instructions", rows, [
      "Pairs of rows lie side by side, 8 columns of each. Strips are laid out likewise, with 16 rows instead of 8.",
    ]),
  ]);
}

function drawScreenCopy(): string {
  const row = (id: string) =>
    cellRow(`id ${id}`, [
      { text: "int8, columns padded to 64", of: "plane 0", width: 4 },
      { text: "scale", of: "plane 1" },
      { text: "loss", of: "plane 2" },
      { text: "norm", of: "plane 3" },
    ]);
  return svgDocument([
    drawRows(
      "The screen's copy of the head's table",
      [row("0"), row("1")],
      [
        "Scales, losses and norms, three floats a row, lie in arrays of their own. Trits and other types of the table become the same copy.",
      ],
    ),
  ]);
}

function drawStrips(): string {
  const lines = [0, 1].map((lineIndex) =>
    cellRow(
      `line ${lineIndex}`,
      [0, 1, 2, stripRows - 1].flatMap((row, i) => [
        ...(i === 3 ? [{ text: "…", of: "gap" }] : []),
        { text: `row ${row}: k ${4 * lineIndex} … ${4 * lineIndex + 3}`, of: `plane ${i}` },
      ]),
    ),
  );
  return svgDocument([
    drawRows(
      "A strip: 16 rows of activations as int8, four columns of all of them a line of 64 bytes",
      lines,
      [
        `Column k of row i is byte 64 ⌊k / 4⌋ + 4 i + k mod 4. Rows that are missing are zeros. NEON's strips hold 8 columns of each row in turn.`,
      ],
    ),
  ]);
}

function drawLanes(): string {
  const lines = [0, 1, 2].map((k) =>
    cellRow(
      `k ${k}`,
      [0, 1, 2, stripRows - 1].flatMap((row, i) => [
        ...(i === 3 ? [{ text: "…", of: "gap" }] : []),
        { text: `row ${row}`, of: `plane ${i}` },
      ]),
    ),
  );
  return svgDocument([
    drawRows("Lanes: 16 rows of activations as f32, one column of all of them a line", lines, [
      `Element k of row i lies at ${stripRows} k + i. Lanes behind the last row hold anything.`,
    ]),
  ]);
}

function drawGroups(): string {
  const planes = [0, 1, 2, 3].map((plane) =>
    cellRow(`bytes ${64 * plane} … ${64 * plane + 63}`, [
      { text: `group 0: k ${32 * plane} … ${32 * plane + 31}`, of: "plane 0" },
      { text: `group 1: k ${128 + 32 * plane} … ${128 + 32 * plane + 31}`, of: "plane 1" },
    ]),
  );
  return svgDocument([
    drawRows(
      "A row of activations with a scale for each 128 columns: two groups are arranged together",
      planes,
      [
        "The planes of the even group and of the odd one in turn, as two blocks of weights have them in one vector of 64 bytes.",
      ],
    ),
  ]);
}

function drawCachePage(): string {
  const layer = (name: string) =>
    cellRow(name, [
      { text: "keys, head 0", of: "plane 0" },
      { text: "keys, head 1", of: "plane 0" },
      { text: "…", of: "gap" },
      { text: "values, head 0", of: "plane 1" },
      { text: "values, head 1", of: "plane 1" },
      { text: "…", of: "gap" },
    ]);
  return svgDocument([
    drawRows(
      `A page of the KV cache: ${pageTokens} positions of all layers`,
      [layer("layer 0"), layer("layer 1")],
      [
        `Keys, or values, of a head: ${pageTokens} positions, one after the other, each headDim elements of f16 or f32.`,
      ],
    ),
  ]);
}
