import { expect, test } from "vitest";
import { packings } from "./registry.ts";
import { tritHistogram } from "./trit-histogram.ts";

test("counts every value, over several slices", () => {
  const shape = { rows: 1100, cols: 1024 };
  const trits = new Int8Array(shape.rows * shape.cols);
  trits.fill(1, 0, 1000);
  trits.fill(-1, trits.length - 77);
  const scale = { kind: "tensor", value: 1 } as const;
  const zero = trits.length - 1077;
  for (const id of ["i2_s", "tq1_0", "tq2_0", "iq1_bn", "iq2_bn", "hf_u8"] as const) {
    const bytes = packings[id].pack(trits, shape, scale);
    expect(tritHistogram(id, bytes, shape)).toEqual({ minus: 77, zero, plus: 1000, invalid: 0 });
  }
});

test("counts code 3 apart", () => {
  const shape = { rows: 1, cols: 128 };
  const bytes = new Uint8Array(packings.i2_s.byteLength(shape)).fill(0b01010101);
  bytes[3] = 0b11010010;
  expect(tritHistogram("i2_s", bytes, shape)).toEqual({ minus: 1, zero: 125, plus: 1, invalid: 1 });
});

test("checks the bytes before it allocates", () => {
  expect(() => tritHistogram("i2_s", new Uint8Array(8), { rows: 1, cols: 2 ** 40 })).toThrow(/expected/);
});
