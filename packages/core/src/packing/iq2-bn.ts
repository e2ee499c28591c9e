/**
 * IQ2_BN (GGUF type 135 of ik_llama.cpp): a row is one f32 scale, then 64 weights per 16 bytes, byte p holds weights p,
 * 16 + p, 32 + p, 48 + p, low bits first.
 */
import { checkBytes, checkRows, checkTrits, elementCount, refuseShape } from "./bounds.ts";
import type { Packing } from "./packing.ts";
import { rowScale, scalePerGroup } from "./scales.ts";
import { packTwoBit, type TwoBitLayout, unpackTwoBit } from "./two-bit.ts";

const id = "iq2_bn";
const scaleBytes = 4;
const layout: TwoBitLayout = { lanes: 16, highFirst: false };

const rowBytes = (cols: number) => scaleBytes + cols / 4;

export const iq2bn: Packing = {
  id,
  byteLength(shape) {
    elementCount(id, shape);
    if (shape.cols % 64 !== 0) refuseShape(id, shape, "needs columns in multiples of 64");
    return shape.rows * rowBytes(shape.cols);
  },
  unpackRows(bytes, shape, first, count, out) {
    checkBytes(id, bytes, iq2bn.byteLength(shape));
    checkRows(id, shape, first, count, out.length);
    for (let r = 0; r < count; r++) {
      const weights = bytes.subarray((first + r) * rowBytes(shape.cols) + scaleBytes);
      unpackTwoBit(weights, layout, 0, out.subarray(r * shape.cols, (r + 1) * shape.cols));
    }
  },
  readScale(bytes, shape) {
    const length = iq2bn.byteLength(shape);
    checkBytes(id, bytes, length);
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    const values = new Float32Array(shape.rows);
    for (let r = 0; r < shape.rows; r++) values[r] = view.getFloat32(r * rowBytes(shape.cols), true);
    const trits = new Int8Array(shape.cols);
    return rowScale(values, (row) => {
      iq2bn.unpackRows(bytes, shape, row, 1, trits);
      return trits.every((trit) => trit === 0);
    });
  },
  pack(trits, shape, scale) {
    const bytes = new Uint8Array(iq2bn.byteLength(shape));
    checkTrits(id, trits, shape);
    const view = new DataView(bytes.buffer);
    scalePerGroup(id, scale, shape, shape.cols).forEach((value, r) => {
      const at = r * rowBytes(shape.cols);
      view.setFloat32(at, value, true);
      packTwoBit(
        trits.subarray(r * shape.cols, (r + 1) * shape.cols),
        layout,
        0,
        bytes.subarray(at + scaleBytes),
      );
    });
    return bytes;
  },
};
