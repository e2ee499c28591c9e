/**
 * The packed linear layers of Hugging Face checkpoints: u8 [rows / 4, cols]; with R = rows / 4, byte [r, c] holds weights
 * [r, c], [R + r, c], [2R + r, c], [3R + r, c], low bits first. The scale is another tensor of the checkpoint
 * (`weight_scale`), so that `readScale` gives null and `pack` ignores the scale it is given. Source: transformers.
 */
import { checkBytes, checkRows, checkTrits, elementCount, refuseShape } from "./bounds.ts";
import type { Packing } from "./packing.ts";

const id = "hf_u8";

export const hfU8: Packing = {
  id,
  byteLength(shape) {
    const n = elementCount(id, shape);
    if (shape.rows % 4 !== 0) refuseShape(id, shape, "needs rows in multiples of 4");
    return n / 4;
  },
  unpackRows(bytes, shape, first, count, out) {
    checkBytes(id, bytes, hfU8.byteLength(shape));
    checkRows(id, shape, first, count, out.length);
    const bandRows = shape.rows / 4;
    for (let r = 0; r < count; r++) {
      const from = ((first + r) % bandRows) * shape.cols;
      const shift = 2 * Math.floor((first + r) / bandRows);
      const to = r * shape.cols;
      for (let c = 0; c < shape.cols; c++) out[to + c] = (((bytes[from + c] ?? 0) >> shift) & 3) - 1;
    }
  },
  readScale() {
    return null;
  },
  pack(trits, shape) {
    const bytes = new Uint8Array(hfU8.byteLength(shape));
    checkTrits(id, trits, shape);
    const bandRows = shape.rows / 4;
    for (let r = 0; r < shape.rows; r++) {
      const to = (r % bandRows) * shape.cols;
      const shift = 2 * Math.floor(r / bandRows);
      const from = r * shape.cols;
      for (let c = 0; c < shape.cols; c++) {
        bytes[to + c] = (bytes[to + c] ?? 0) | (((trits[from + c] ?? 0) + 1) << shift);
      }
    }
    return bytes;
  },
};
