/**
 * Tables of ternary weights for looking up rows and for the head: blocks of 128 trits with an f16 scale, in the layout of PQ2_0 (`trits`), or,
 * where the scales are finer than that, widened to f16.
 */
import { f32ToF16 } from "../base/float16.ts";
import type { PackingId, Scale, TernaryShape } from "./packing.ts";
import { packings } from "./registry.ts";

const blockWeights = 128;
const blockBytes = 34;

interface PackedTable {
  packing: PackingId;
  bytes: Uint8Array;
  shape: TernaryShape;
  /** Of the whole table; every value an f16. */
  scale: Scale;
}

/** Memory that native backends use in place, where the engine has such. */
function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(
    typeof SharedArrayBuffer === "function" ? new SharedArrayBuffer(length) : new ArrayBuffer(length),
  );
}

export function tritsTable(table: PackedTable): { type: "trits" | "f16"; bytes: Uint8Array } {
  const { shape } = table;
  const scales = shape.cols % blockWeights === 0 ? blockScales(table) : null;
  return scales === null
    ? { type: "f16", bytes: widened(table) }
    : { type: "trits", bytes: packed(table, scales) };
}

/** The scale of each weight's run. */
function runsOf({ scale, shape: { rows, cols } }: PackedTable): { values: Float32Array; size: number } {
  if (scale.kind === "tensor") return { values: Float32Array.of(scale.value), size: rows * cols };
  return { values: scale.values, size: scale.kind === "row" ? cols : scale.size };
}

/** [rows · cols / 128], or null where a block has two. */
function blockScales(table: PackedTable): Float32Array | null {
  const { values, size } = runsOf(table);
  const { rows, cols } = table.shape;
  const scales = new Float32Array((rows * cols) / blockWeights);
  for (let i = 0; i < scales.length; i++) {
    const first = Math.floor((i * blockWeights) / size);
    const end = Math.ceil(((i + 1) * blockWeights) / size);
    const own = [...values.subarray(first, end)].filter((value) => value !== 0);
    if (own.some((value) => value !== own[0])) return null;
    scales[i] = own[0] ?? 0;
  }
  return scales;
}

function packed({ packing, bytes, shape }: PackedTable, scales: Float32Array): Uint8Array {
  const { rows, cols } = shape;
  const out = sharedBytes(scales.length * blockBytes);
  const view = new DataView(out.buffer);
  const trits = new Int8Array(cols);
  const perRow = cols / blockWeights;
  for (let row = 0; row < rows; row++) {
    packings[packing].unpackRows(bytes, shape, row, 1, trits);
    for (let block = 0; block < perRow; block++) {
      const at = (row * perRow + block) * blockBytes;
      view.setUint16(at, f32ToF16(scales[row * perRow + block] ?? 0), true);
      for (let j = 0; j < blockWeights; j += 4) {
        const from = block * blockWeights + j;
        let byte = 0;
        for (let k = 3; k >= 0; k--) byte = (byte << 2) | ((trits[from + k] ?? 0) + 1);
        out[at + 2 + (j >> 2)] = byte;
      }
    }
  }
  return out;
}

function widened(table: PackedTable): Uint8Array {
  const { packing, bytes, shape } = table;
  const { rows, cols } = shape;
  const { values, size } = runsOf(table);
  const out = sharedBytes(2 * rows * cols);
  const halves = new Uint16Array(out.buffer);
  const trits = new Int8Array(cols);
  for (let row = 0; row < rows; row++) {
    packings[packing].unpackRows(bytes, shape, row, 1, trits);
    for (let from = 0; from < cols; from += size) {
      const value = values[Math.floor((row * cols + from) / size)] as number;
      const codes = Uint16Array.from([-value, 0, value, 2 * value], f32ToF16);
      for (let i = from; i < Math.min(cols, from + size); i++)
        halves[row * cols + i] = codes[(trits[i] as number) + 1] as number;
    }
  }
  return out;
}
