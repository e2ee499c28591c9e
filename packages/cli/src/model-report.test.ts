import { bytesSource, type GgufInput, openModelFiles, packings, writeGguf } from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { type ModelReport, reportModel } from "./model-report.ts";

const shape = { rows: 4, cols: 128 };

/** One ternary tensor of four rows: all −1, all 0, all +1, and one where code 3 is put in afterwards. */
function ternaryBytes(): Uint8Array {
  const trits = new Int8Array(4 * 128);
  trits.fill(-1, 0, 128).fill(1, 256, 384);
  const bytes = packings.i2_s.pack(trits, shape, { kind: "tensor", value: 0.5 });
  bytes[3 * 32] = 0b11_01_01_11;
  return bytes;
}

async function report(patch: (bytes: Uint8Array) => void = () => {}): Promise<ModelReport> {
  const input: GgufInput = {
    metadata: new Map([
      ["general.architecture", { type: "string", value: "gpt-j" }],
      [
        "numbers",
        { type: "array", of: "u64", value: BigUint64Array.from({ length: 100 }, (_, i) => BigInt(i)) },
      ],
      ["huge", { type: "u64", value: 2n ** 60n }],
    ]),
    tensors: [
      { name: "w", shape: [4, 128], type: "i2_s", data: ternaryBytes },
      { name: "v", shape: [8], type: "f32", data: () => new Uint8Array(32) },
    ],
  };
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeGguf(input)) chunks.push(chunk.slice());
  const bytes = Buffer.concat(chunks);
  patch(bytes);
  const files = await openModelFiles({ kind: "file", source: bytesSource(bytes, "x.gguf") });
  return reportModel(files, "x.gguf", { countsWeights: true, signal: new AbortController().signal });
}

describe("reportModel", () => {
  it("counts weights and code 3, summarises arrays, and says what is in the way", async () => {
    const found = await report();
    expect(found).toMatchObject({ architecture: "gpt-j", parameters: 4 * 128 + 8, bytes: 4 * 32 + 32 + 32 });
    expect(found.tensors).toEqual([
      {
        name: "w",
        shape: [4, 128],
        type: "i2_s",
        bytes: 160,
        weights: { minus: 128, zero: 254, plus: 128, invalid: 2 },
      },
      { name: "v", shape: [8], type: "f32", bytes: 32 },
    ]);
    expect(found.metadata.numbers).toEqual({ array: "u64", length: 100, first: [0, 1, 2, 3, 4, 5, 6, 7] });
    expect(found.metadata.huge).toBe(String(2n ** 60n));
    expect(found.problems).toHaveLength(1);
    expect(found.problems[0]).toMatch(/unknown architecture.*gpt-j/);
    expect(() => JSON.stringify(found)).not.toThrow();
  });

  it("lists tensors of types that are not read", async () => {
    // The type stands after name (u64 length and one byte), number of dimensions and the two dimensions.
    const found = await report((bytes) => {
      const at = Buffer.from(bytes.buffer, bytes.byteOffset).indexOf(
        "\x01\0\0\0\0\0\0\0w\x02\0\0\0",
        0,
        "latin1",
      );
      bytes[at + 9 + 4 + 16] = 200;
    });
    expect(found.tensors[0]).toMatchObject({ name: "w", type: "type 200" });
    expect(found.types[0]).toMatchObject({
      type: "type 200",
      tensors: 1,
      reason: expect.stringMatching(/unknown/),
    });
    expect(found.problems).toEqual([
      expect.stringMatching(/gpt-j/),
      expect.stringMatching(/types that are not read: 1 tensor, .*"w"/),
    ]);
  });
});
