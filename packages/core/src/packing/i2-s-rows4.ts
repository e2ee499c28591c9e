/**
 * The I2_S of x86 builds of bitnet.cpp without activation parallelism: byte (row / 4) · cols + col holds that column of
 * four consecutive rows, the first in the high bits; the same tail as I2_S. Such files carry the same type number as I2_S
 * and no mark, so that only an option can choose this layout.
 */
import { checkBytes, checkRows, checkTrits, elementCount, refuseShape } from "./bounds.ts";
import { i2sTailBytes, readI2sScale, writeI2sScale } from "./i2-s.ts";
import type { Packing } from "./packing.ts";
import { tensorScaleValue } from "./scales.ts";

const id = "i2_s_rows4";

export const i2sRows4: Packing = {
  id,
  byteLength(shape) {
    const n = elementCount(id, shape);
    if (shape.rows % 4 !== 0) refuseShape(id, shape, "does not consist of groups of 4 rows");
    return n / 4 + i2sTailBytes;
  },
  unpackRows(bytes, shape, first, count, out) {
    checkBytes(id, bytes, i2sRows4.byteLength(shape));
    checkRows(id, shape, first, count, out.length);
    for (let r = 0; r < count; r++) {
      const from = Math.floor((first + r) / 4) * shape.cols;
      const shift = 6 - 2 * ((first + r) % 4);
      const to = r * shape.cols;
      for (let c = 0; c < shape.cols; c++) out[to + c] = (((bytes[from + c] ?? 0) >> shift) & 3) - 1;
    }
  },
  readScale(bytes, shape) {
    const length = i2sRows4.byteLength(shape);
    checkBytes(id, bytes, length);
    return { kind: "tensor", value: readI2sScale(bytes, length) };
  },
  pack(trits, shape, scale) {
    const bytes = new Uint8Array(i2sRows4.byteLength(shape));
    checkTrits(id, trits, shape);
    writeI2sScale(bytes, tensorScaleValue(id, scale));
    for (let r = 0; r < shape.rows; r++) {
      const to = Math.floor(r / 4) * shape.cols;
      const shift = 6 - 2 * (r % 4);
      const from = r * shape.cols;
      for (let c = 0; c < shape.cols; c++) {
        bytes[to + c] = (bytes[to + c] ?? 0) | (((trits[from + c] ?? 0) + 1) << shift);
      }
    }
    return bytes;
  },
};
