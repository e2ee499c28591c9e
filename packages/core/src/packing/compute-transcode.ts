/**
 * Fast paths into the compute layout: packings whose bytes become compute bytes by moving two-bit fields, never through
 * single trits. Each returns a function that writes rows `[first, first + count)` to `out` [count · row bytes].
 */
import { base3Digits } from "./base-three.ts";
import type { PackingId, TernaryShape } from "./packing.ts";
import { tq1BlockBytes } from "./tq1-0.ts";
import { tq2BlockBytes } from "./tq2-0.ts";
import { reversedFields } from "./two-bit.ts";

type Transcoder = (first: number, count: number, out: Uint8Array) => void;

/** Null where the packing has no fast path. `bytes` and `shape` are checked by the caller. */
export function fastTranscoder(id: PackingId, bytes: Uint8Array, shape: TernaryShape): Transcoder | null {
  if (id === "tq2_0") return transcodeTq2(bytes, shape);
  if (id === "tq1_0") return transcodeTq1(bytes, shape);
  if (id === "hf_u8") return transcodeHfU8(bytes, shape);
  return null;
}

function transcodeTq2(bytes: Uint8Array, shape: TernaryShape): Transcoder {
  const perRow = shape.cols / 256;
  return (first, count, out) => {
    for (let block = 0; block < count * perRow; block++) {
      const from = (first * perRow + block) * tq2BlockBytes;
      const to = block * 64;
      for (let p = 0; p < 64; p++) out[to + p] = reversedFields[bytes[from + p] ?? 0] ?? 0;
    }
  };
}

/** Per byte of five trits: digits 0–3 as the fields of one compute byte. */
const digits0123 = Uint8Array.from(base3Digits, (digits) => reversedFields[digits & 255] ?? 0);
/** Digit 4 in the first field. */
const digit4First = Uint8Array.from(base3Digits, (digits) => (digits >> 8) << 6);
/** Digits 0, 2, 4 in the second to fourth field. */
const digits024 = Uint8Array.from(base3Digits, (d) => ((d & 3) << 4) | (((d >> 4) & 3) << 2) | (d >> 8));
/** Digits 1 and 3 in the second and third field. */
const digits13 = Uint8Array.from(base3Digits, (d) => (((d >> 2) & 3) << 4) | (((d >> 6) & 3) << 2));

/**
 * The 256 weights of a TQ1_0 block are two blocks of 128. The first is digits 0–3 of qs[0…31]. In the second, byte p < 16
 * holds weights 128 + p (digit 4 of qs[p]), 160 + p, 192 + p, 224 + p (digits 0, 2, 4 of qs[32 + p]); byte 16 + p holds
 * weights 144 + p (digit 4 of qs[16 + p]), 176 + p, 208 + p (digits 1, 3 of qs[32 + p]), 240 + p (digit p / 4 of
 * qh[p % 4]).
 */
function transcodeTq1(bytes: Uint8Array, shape: TernaryShape): Transcoder {
  const perRow = shape.cols / 256;
  return (first, count, out) => {
    for (let block = 0; block < count * perRow; block++) {
      const qs = (first * perRow + block) * tq1BlockBytes;
      const to = block * 64;
      for (let p = 0; p < 32; p++) out[to + p] = digits0123[bytes[qs + p] ?? 0] ?? 0;
      for (let p = 0; p < 16; p++) {
        const middle = bytes[qs + 32 + p] ?? 0;
        const last = base3Digits[bytes[qs + 48 + (p & 3)] ?? 0] ?? 0;
        out[to + 32 + p] = (digit4First[bytes[qs + p] ?? 0] ?? 0) | (digits024[middle] ?? 0);
        const front = (digit4First[bytes[qs + 16 + p] ?? 0] ?? 0) | (digits13[middle] ?? 0);
        out[to + 48 + p] = front | ((last >> (2 * (p >> 2))) & 3);
      }
    }
  };
}

/** Takes one two-bit field out of each byte of 32-bit words and lays those of four words side by side. */
function transcodeHfU8(bytes: Uint8Array, shape: TernaryShape): Transcoder {
  const { cols } = shape;
  const bandRows = shape.rows / 4;
  const nBlocks = Math.ceil(cols / 128);
  const padded = new Uint8Array(nBlocks * 128).fill(0x55); // one stored row; the padding decodes to zeros
  const words = new Uint32Array(padded.buffer);
  const field = 0x03030303;
  return (first, count, out) => {
    const outWords = new Uint32Array(out.buffer, out.byteOffset, out.byteLength / 4);
    for (let r = 0; r < count; r++) {
      const from = ((first + r) % bandRows) * cols;
      const shift = 2 * Math.floor((first + r) / bandRows);
      padded.set(bytes.subarray(from, from + cols));
      for (let b = 0; b < nBlocks; b++) {
        const to = (r * nBlocks + b) * 8;
        for (let w = 32 * b; w < 32 * b + 8; w++) {
          const high =
            ((((words[w] ?? 0) >>> shift) & field) << 6) | ((((words[w + 8] ?? 0) >>> shift) & field) << 4);
          const low =
            ((((words[w + 16] ?? 0) >>> shift) & field) << 2) | (((words[w + 24] ?? 0) >>> shift) & field);
          outWords[to + w - 32 * b] = high | low;
        }
      }
    }
  };
}
