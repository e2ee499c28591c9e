import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { BitNetError } from "../base/errors.ts";
import { f16ToF32, f32ToF16 } from "../base/float16.ts";
import type { PackingId, Scale, TernaryShape } from "./packing.ts";
import { packings } from "./registry.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/golden.json", import.meta.url), "utf8"),
).packings as Record<string, string> & { trits: number[][]; hf_trits: number[][] };

const tensorScale: Scale = { kind: "tensor", value: 0.75 };

function bytesOfHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Reproducible trits: a multiplicative hash of the index. */
function randomTrits(n: number, seed: number): Int8Array {
  return Int8Array.from({ length: n }, (_, i) => ((Math.imul(i + seed, 0x9e3779b1) >>> 11) % 3) - 1);
}

function unpack(id: PackingId, bytes: Uint8Array, shape: TernaryShape): Int8Array {
  const out = new Int8Array(shape.rows * shape.cols);
  packings[id].unpackRows(bytes, shape, 0, shape.rows, out);
  return out;
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof BitNetError) return error.code;
    throw error;
  }
  return "no error";
}

/** Where and how each layout keeps element e of [rows, cols], by the formulas of the formats, one element at a time. */
const definitions: Record<PackingId, (bytes: Uint8Array, shape: TernaryShape, e: number) => number> = {
  i2_s: (b, _, e) => twoBits(b, 32 * div(e, 128) + (e % 32), 6 - 2 * div(e % 128, 32)),
  i2_s_64: (b, _, e) => twoBits(b, 16 * div(e, 64) + (e % 16), 6 - 2 * div(e % 64, 16)),
  i2_s_rows4: (b, { cols }, e) =>
    twoBits(b, div(div(e, cols), 4) * cols + (e % cols), 6 - 2 * (div(e, cols) % 4)),
  tq1_0: (b, _, e) => tq1Weight(b.subarray(54 * div(e, 256)), e % 256),
  tq2_0: (b, _, e) => twoBits(b, 66 * div(e, 256) + 32 * div(e % 256, 128) + (e % 32), 2 * div(e % 128, 32)),
  iq2_bn(b, { cols }, e) {
    const col = e % cols;
    return twoBits(
      b,
      div(e, cols) * (4 + cols / 4) + 4 + 16 * div(col, 64) + (col % 16),
      2 * div(col % 64, 16),
    );
  },
  iq1_bn(b, { cols }, e) {
    const col = e % cols;
    const block = b.subarray(div(e, cols) * (2 + (13 * cols) / 64) + 2 + 13 * div(col, 64));
    const g = div(col % 64, 16);
    const r = col % 16;
    const [byte, j] = r < 15 ? [3 * g + div(r, 5), r % 5] : [12, g];
    const u = ((block[byte] ?? 0) * 3 ** (4 - j)) & 255;
    return ((u + (u >> 1)) >> 7) - 1;
  },
  q1_0: (b, _, e) => (((b[18 * div(e, 128) + 2 + div(e % 128, 8)] ?? 0) >> (e % 8)) & 1 ? 1 : -1),
  q2_0: (b, _, e) => twoBits(b, 18 * div(e, 64) + 2 + div(e % 64, 4), 2 * (e % 4)),
  q2_0_128: (b, _, e) => twoBits(b, 34 * div(e, 128) + 2 + div(e % 128, 4), 2 * (e % 4)),
  pq2_0: (b, _, e) => twoBits(b, 34 * div(e, 128) + 2 + div(e % 128, 4), 2 * (e % 4)),
  ptq1_0(b, _, e) {
    const block = b.subarray(28 * div(e, 128));
    const j = e % 128;
    const [byte, digit] =
      j < 80
        ? [j % 16, div(j, 16)]
        : j < 120
          ? [16 + ((j - 80) % 8), div(j - 80, 8)]
          : [24 + ((j - 120) % 2), div(j - 120, 2)];
    return (((((block[byte] ?? 0) * 3 ** digit) & 255) * 3) >> 8) - 1;
  },
  hf_u8(b, { rows, cols }, e) {
    const quarter = rows / 4;
    const row = div(e, cols);
    return twoBits(b, (row % quarter) * cols + (e % cols), 2 * div(row, quarter));
  },
};

function div(a: number, b: number): number {
  return Math.floor(a / b);
}

function twoBits(bytes: Uint8Array, byte: number, shift: number): number {
  return (((bytes[byte] ?? 0) >> shift) & 3) - 1;
}

function tq1Weight(block: Uint8Array, e: number): number {
  const [byte, digit] =
    e < 160
      ? [e % 32, div(e, 32)]
      : e < 240
        ? [32 + ((e - 160) % 16), div(e - 160, 16)]
        : [48 + ((e - 240) % 4), div(e - 240, 4)];
  return (((((block[byte] ?? 0) * 3 ** digit) & 255) * 3) >> 8) - 1;
}

describe("golden bytes of an independent implementation", () => {
  const trits = Int8Array.from(golden.trits.flat());
  const shape = { rows: 2, cols: 256 };

  test.each(["i2_s", "tq2_0", "tq1_0"] as const)("%s both ways", (id) => {
    const bytes = bytesOfHex(golden[id] ?? "");
    expect(bytes.length).toBe(packings[id].byteLength(shape));
    expect(unpack(id, bytes, shape)).toEqual(trits);
    expect(packings[id].readScale(bytes, shape)).toEqual(tensorScale);
    expect(packings[id].pack(trits, shape, tensorScale)).toEqual(bytes);
  });

  test("hf_u8 both ways", () => {
    const bytes = bytesOfHex(golden.hf_packed ?? "");
    const hfTrits = Int8Array.from(golden.hf_trits.flat());
    const hfShape = { rows: 8, cols: 4 };
    expect(unpack("hf_u8", bytes, hfShape)).toEqual(hfTrits);
    expect(packings.hf_u8.pack(hfTrits, hfShape, tensorScale)).toEqual(bytes);
    expect(packings.hf_u8.readScale(bytes, hfShape)).toBeNull();
  });
});

const shapes: Record<PackingId, TernaryShape[]> = {
  i2_s: [
    { rows: 1, cols: 128 },
    { rows: 8, cols: 80 },
    { rows: 128, cols: 3 },
    { rows: 5, cols: 384 },
  ],
  i2_s_64: [
    { rows: 1, cols: 64 },
    { rows: 16, cols: 20 },
    { rows: 3, cols: 192 },
  ],
  i2_s_rows4: [
    { rows: 4, cols: 1 },
    { rows: 12, cols: 37 },
  ],
  tq1_0: [
    { rows: 1, cols: 256 },
    { rows: 3, cols: 768 },
  ],
  tq2_0: [
    { rows: 1, cols: 256 },
    { rows: 3, cols: 768 },
  ],
  iq1_bn: [
    { rows: 1, cols: 64 },
    { rows: 3, cols: 320 },
  ],
  iq2_bn: [
    { rows: 1, cols: 64 },
    { rows: 3, cols: 320 },
  ],
  q1_0: [
    { rows: 1, cols: 128 },
    { rows: 3, cols: 384 },
  ],
  q2_0: [
    { rows: 1, cols: 64 },
    { rows: 3, cols: 320 },
  ],
  q2_0_128: [
    { rows: 1, cols: 128 },
    { rows: 3, cols: 384 },
  ],
  pq2_0: [
    { rows: 1, cols: 128 },
    { rows: 3, cols: 384 },
  ],
  ptq1_0: [
    { rows: 1, cols: 128 },
    { rows: 3, cols: 384 },
  ],
  hf_u8: [
    { rows: 4, cols: 1 },
    { rows: 12, cols: 37 },
  ],
};

const cases = Object.entries(shapes).flatMap(([id, list]) =>
  list.map((shape) => ({ id: id as PackingId, shape, label: `${id} [${shape.rows}, ${shape.cols}]` })),
);

describe.each(cases)("$label", ({ id, shape }) => {
  const packing = packings[id];
  const n = shape.rows * shape.cols;
  const isBinary = id === "q1_0";
  const ofKind = (trits: Int8Array) => (isBinary ? trits.map((trit) => (trit < 0 ? -1 : 1)) : trits);
  const inputs = [
    randomTrits(n, 7),
    new Int8Array(n).fill(1),
    new Int8Array(n).fill(-1),
    new Int8Array(n),
  ].map(ofKind);

  test("unpacks what it packed, and as the format defines it", () => {
    for (const trits of inputs) {
      const bytes = packing.pack(trits, shape, tensorScale);
      expect(bytes.length).toBe(packing.byteLength(shape));
      expect(unpack(id, bytes, shape)).toEqual(trits);
      expect(Int8Array.from(trits, (_, e) => definitions[id](bytes, shape, e))).toEqual(trits);
    }
  });

  test("unpacks arbitrary bytes as the format defines it, from any alignment", () => {
    const bytes = Uint8Array.from(
      { length: packing.byteLength(shape) + 1 },
      (_, i) => Math.imul(i, 0x9e3779b1) >>> 13,
    );
    const unaligned = bytes.subarray(1);
    const expected = Int8Array.from({ length: n }, (_, e) => definitions[id](unaligned, shape, e));
    expect(unpack(id, unaligned, shape)).toEqual(expected);
  });

  test("unpacks any run of rows, and nothing beyond it", () => {
    const [trits = new Int8Array()] = inputs;
    const bytes = packing.pack(trits, shape, tensorScale);
    for (let first = 0; first < shape.rows; first++) {
      const count = Math.min(2, shape.rows - first);
      const out = new Int8Array(count * shape.cols + 1).fill(9);
      packing.unpackRows(bytes, shape, first, count, out);
      expect(out.subarray(0, -1)).toEqual(trits.subarray(first * shape.cols, (first + count) * shape.cols));
      expect(out.at(-1)).toBe(9);
    }
  });

  test("refuses too few bytes, rows outside, a small output, wrong trits", () => {
    const bytes = new Uint8Array(packing.byteLength(shape));
    const out = new Int8Array(n);
    expect(codeOf(() => packing.unpackRows(bytes.subarray(1), shape, 0, 1, out))).toBe("FORMAT_TRUNCATED");
    expect(codeOf(() => packing.unpackRows(bytes, shape, shape.rows, 1, out))).toBe("INVALID_ARGUMENT");
    expect(codeOf(() => packing.unpackRows(bytes, shape, -1, 1, out))).toBe("INVALID_ARGUMENT");
    expect(codeOf(() => packing.unpackRows(bytes, shape, 0, 0.5, out))).toBe("INVALID_ARGUMENT");
    expect(codeOf(() => packing.unpackRows(bytes, shape, 0, 1, out.subarray(0, shape.cols - 1)))).toBe(
      "INVALID_ARGUMENT",
    );
    expect(codeOf(() => packing.pack(new Int8Array(n + 1), shape, tensorScale))).toBe("INVALID_ARGUMENT");
    expect(codeOf(() => packing.pack(new Int8Array(n).fill(2), shape, tensorScale))).toBe("INVALID_ARGUMENT");
    if (id !== "hf_u8") {
      expect(codeOf(() => packing.readScale(bytes.subarray(1), shape))).toBe("FORMAT_TRUNCATED");
    }
  });
});

test.each([
  ["i2_s", { rows: 1, cols: 64 }],
  ["i2_s_64", { rows: 1, cols: 32 }],
  ["i2_s_rows4", { rows: 6, cols: 128 }],
  ["tq1_0", { rows: 2, cols: 128 }],
  ["tq2_0", { rows: 2, cols: 128 }],
  ["iq1_bn", { rows: 2, cols: 32 }],
  ["iq2_bn", { rows: 2, cols: 32 }],
  ["q1_0", { rows: 2, cols: 64 }],
  ["q2_0", { rows: 2, cols: 32 }],
  ["q2_0_128", { rows: 2, cols: 64 }],
  ["pq2_0", { rows: 2, cols: 64 }],
  ["ptq1_0", { rows: 2, cols: 64 }],
  ["hf_u8", { rows: 6, cols: 128 }],
  ["i2_s", { rows: 0, cols: 128 }],
  ["i2_s", { rows: 2 ** 40, cols: 2 ** 40 }],
] as const)("%s refuses the shape %o", (id, shape) => {
  expect(codeOf(() => packings[id].byteLength(shape))).toBe("FORMAT_UNSUPPORTED");
});

test("code 3 of the two-bit layouts unpacks as +2", () => {
  for (const id of [
    "i2_s",
    "i2_s_64",
    "i2_s_rows4",
    "tq2_0",
    "iq2_bn",
    "q2_0",
    "q2_0_128",
    "pq2_0",
    "hf_u8",
  ] as const) {
    const shape = { rows: 4, cols: 256 };
    const bytes = new Uint8Array(packings[id].byteLength(shape)).fill(0xff);
    expect(unpack(id, bytes, shape)).toEqual(new Int8Array(1024).fill(2));
  }
});

describe("scales", () => {
  const groups = Float32Array.from([0.5, 0.25, 1, 2]);
  const shape = { rows: 2, cols: 512 };
  const trits = randomTrits(1024, 3);

  test("the I2_S tail behind the scale is zeros", () => {
    const bytes = packings.i2_s.pack(trits, shape, { kind: "tensor", value: -1.1 });
    expect(new DataView(bytes.buffer).getFloat32(256, true)).toBe(Math.fround(-1.1));
    expect(bytes.subarray(260)).toEqual(new Uint8Array(28));
  });

  test.each(["tq1_0", "tq2_0"] as const)("%s keeps groups of 256 that differ, rounded to f16", (id) => {
    const packing = packings[id];
    const scale: Scale = { kind: "group", size: 256, values: groups };
    expect(packing.readScale(packing.pack(trits, shape, scale), shape)).toEqual(scale);
    const thirds: Scale = { kind: "tensor", value: 1 / 3 };
    const rounded = { kind: "tensor", value: f16ToF32(f32ToF16(1 / 3)) };
    expect(packing.readScale(packing.pack(trits, shape, thirds), shape)).toEqual(rounded);
    const rows: Scale = { kind: "row", values: Float32Array.from([0.5, 2]) };
    expect(packing.readScale(packing.pack(trits, shape, rows), shape)).toEqual({
      kind: "group",
      size: 256,
      values: Float32Array.from([0.5, 0.5, 2, 2]),
    });
    const wide: Scale = { kind: "group", size: 512, values: Float32Array.from([0.5, 2]) };
    expect(packing.readScale(packing.pack(trits, shape, wide), shape)).toMatchObject({
      kind: "group",
      size: 256,
    });
    expect(codeOf(() => packing.pack(trits, shape, { kind: "group", size: 128, values: groups }))).toBe(
      "FORMAT_UNSUPPORTED",
    );
    expect(codeOf(() => packing.pack(trits, shape, { kind: "tensor", value: 1e6 }))).toBe(
      "FORMAT_UNSUPPORTED",
    );
    expect(codeOf(() => packing.pack(trits, shape, { kind: "row", values: new Float32Array(1) }))).toBe(
      "INVALID_ARGUMENT",
    );
  });

  test.each(["iq1_bn", "iq2_bn"] as const)("%s keeps rows that differ and collapses equal ones", (id) => {
    const packing = packings[id];
    const rows: Scale = { kind: "row", values: Float32Array.from([0.5, 2]) };
    expect(packing.readScale(packing.pack(trits, shape, rows), shape)).toEqual(rows);
    const equal: Scale = { kind: "row", values: Float32Array.from([2, 2]) };
    expect(packing.readScale(packing.pack(trits, shape, equal), shape)).toEqual({ kind: "tensor", value: 2 });
    expect(codeOf(() => packing.pack(trits, shape, { kind: "group", size: 256, values: groups }))).toBe(
      "FORMAT_UNSUPPORTED",
    );
  });

  test.each(["tq1_0", "tq2_0", "iq1_bn", "iq2_bn"] as const)(
    "%s: scale 0 over zeros does not count, scale 0 over other weights does",
    (id) => {
      const packing = packings[id];
      const emptyRow = trits.slice().fill(0, 0, 512);
      const scale: Scale = { kind: "row", values: Float32Array.from([0, 0.5]) };
      expect(packing.readScale(packing.pack(emptyRow, shape, scale), shape)).toEqual({
        kind: "tensor",
        value: 0.5,
      });
      expect(packing.readScale(packing.pack(trits, shape, scale), shape)?.kind).not.toBe("tensor");
      const none: Scale = { kind: "tensor", value: 0 };
      expect(packing.readScale(packing.pack(trits, shape, none), shape)).toEqual(none);
    },
  );

  test("iq2_bn keeps f32 scales exactly", () => {
    const rows: Scale = { kind: "row", values: Float32Array.from([0.1, 1e20]) };
    expect(packings.iq2_bn.readScale(packings.iq2_bn.pack(trits, shape, rows), shape)).toEqual(rows);
  });

  test.each(["i2_s", "i2_s_64"] as const)("%s refuses scales finer than a tensor", (id) => {
    expect(codeOf(() => packings[id].pack(trits, shape, { kind: "row", values: groups }))).toBe(
      "FORMAT_UNSUPPORTED",
    );
  });
});

describe("blocks with a scale each", () => {
  const shape = { rows: 2, cols: 256 };
  const trits = randomTrits(512, 3);

  test("where the scale lies: first in Q1_0, Q2_0 and PQ2_0, last in PTQ1_0", () => {
    const scale: Scale = { kind: "tensor", value: 0.75 }; // f16 0x3a00
    for (const [id, at] of [
      ["q2_0", 0],
      ["q2_0_128", 0],
      ["pq2_0", 0],
      ["ptq1_0", 26],
    ] as const)
      expect(new DataView(packings[id].pack(trits, shape, scale).buffer).getUint16(at, true)).toBe(0x3a00);
    const binary = trits.map((trit) => (trit < 0 ? -1 : 1));
    expect(new DataView(packings.q1_0.pack(binary, shape, scale).buffer).getUint16(0, true)).toBe(0x3a00);
  });

  test.each([
    ["q2_0", 64],
    ["q2_0_128", 128],
    ["pq2_0", 128],
    ["ptq1_0", 128],
  ] as const)("%s keeps a scale per %d and refuses finer ones", (id, size) => {
    const values = Float32Array.from({ length: 512 / size }, (_, i) => 2 ** -i);
    const scale: Scale = { kind: "group", size, values };
    expect(packings[id].readScale(packings[id].pack(trits, shape, scale), shape)).toEqual(scale);
    const finer: Scale = { kind: "group", size: size / 2, values: new Float32Array(1024 / size) };
    expect(codeOf(() => packings[id].pack(trits, shape, finer))).toBe("FORMAT_UNSUPPORTED");
  });

  test("Q1_0 has no zero", () => {
    expect(codeOf(() => packings.q1_0.pack(trits, shape, tensorScale))).toBe("FORMAT_UNSUPPORTED");
  });
});
