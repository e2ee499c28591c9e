/** How a conversion reads: ahead into memory that is used again, and large tables by their patterns. */
import { describe, expect, it } from "vitest";
import { type ByteSource, bytesSource } from "../base/byte-source.ts";
import { readTensor, type TensorInfo } from "../formats/tensor.ts";
import type { WeightFiles } from "../model/bind-weights.ts";
import { encodeDense } from "../packing/dense-encode.ts";
import { narrowestExact } from "./narrow-type.ts";
import { encodedSlices } from "./pattern-tables.ts";
import { readingAhead } from "./read-ahead.ts";
import type { SourceWeight } from "./source.ts";

const file = Uint8Array.from({ length: 1000 }, (_, i) => (i * 37) % 251);

/** A file that fills memory of others, and the places that were read. */
function watchedFile(failsAt = -1): { source: ByteSource; reads: number[] } {
  const reads: number[] = [];
  const plain = bytesSource(file);
  const source: ByteSource = {
    ...plain,
    async readInto(offset, target) {
      reads.push(offset);
      await Promise.resolve();
      if (offset === failsAt) throw new Error("the disk has failed");
      target.set(file.subarray(offset, offset + target.length));
    },
  };
  return { source, reads };
}

const weight = (name: string, offset: number, byteLength: number, source: ByteSource): TensorInfo => ({
  ...{ name, offset, byteLength, source },
  ...{ shape: [byteLength], type: "u8" },
});

function ahead(source: ByteSource) {
  const order = [
    weight("a", 0, 100, source),
    weight("b", 100, 300, source),
    weight("c", 400, 50, source),
    weight("d", 450, 200, source),
  ];
  const tensors = new Map(order.map((tensor) => [tensor.name, tensor]));
  const files = readingAhead({ tensors } as unknown as WeightFiles, order);
  const read = async (name: string) => {
    const tensor = files.tensors.get(name) as TensorInfo;
    return {
      found: await readTensor(tensor),
      expected: file.subarray(tensor.offset, tensor.offset + tensor.byteLength),
    };
  };
  return { read, files };
}

describe("reading ahead", () => {
  it("begins the next weight while one is worked on, and leaves that one alone meanwhile", async () => {
    const { source, reads } = watchedFile();
    const { read } = ahead(source);
    const first = await read("a");
    expect(reads).toEqual([0, 100]);
    await new Promise(setImmediate);
    expect(first.found).toEqual(first.expected);
    for (const name of ["b", "c", "d"]) {
      const { found, expected } = await read(name);
      await new Promise(setImmediate);
      expect(found).toEqual(expected);
    }
    expect(reads).toEqual([0, 100, 400, 450]);
  });

  it("gives the right bytes in any order, and of a part", async () => {
    const { source } = watchedFile();
    const { read, files } = ahead(source);
    for (const name of ["c", "a", "a", "d", "b", "c", "b"]) {
      const { found, expected } = await read(name);
      await new Promise(setImmediate);
      expect(found, name).toEqual(expected);
    }
    expect(await files.tensors.get("b")?.source.read(110, 5)).toEqual(file.subarray(110, 115));
  });

  it("waits for what is still being read before its memory is used for another", async () => {
    const plain = watchedFile().source;
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const source: ByteSource = {
      ...plain,
      async readInto(offset, target) {
        if (offset === 100) await held;
        await plain.readInto?.(offset, target);
      },
    };
    const { read } = ahead(source);
    await read("a"); // begins b, which is held
    const reading = read("c");
    setImmediate(release);
    await reading;
    const { found, expected } = await read("d");
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    expect(found).toEqual(expected);
  });

  it("tells a failure to whom it concerns", async () => {
    const { source } = watchedFile(100);
    const { read } = ahead(source);
    expect((await read("a")).found.length).toBe(100);
    await new Promise(setImmediate);
    await expect(read("b")).rejects.toThrow("the disk has failed");
    const { found, expected } = await read("c");
    expect(found).toEqual(expected);
  });

  it("leaves sources alone that cannot fill memory of others", async () => {
    const { read } = ahead(bytesSource(file));
    const { found, expected } = await read("b");
    expect(found).toEqual(expected);
  });
});

describe("large tables of 16-bit floats", () => {
  const cols = 300;
  const rows = 230; // more elements than patterns
  const values = Float32Array.from({ length: rows * cols }, (_, i) => ((i % 509) - 254) / 64);
  const table = (type: "f16" | "bf16", own: Float32Array): SourceWeight => {
    const bytes = encodeDense(type, own);
    const unaligned = new Uint8Array(bytes.length + 1);
    unaligned.set(bytes, 1);
    const tensor = {
      ...{ name: "t", shape: [rows, cols], type, offset: 1, byteLength: bytes.length },
      source: bytesSource(unaligned),
    } as const;
    return { name: "t", ggufName: "t", kind: "dense", rows, cols, shape: [rows, cols], tensor };
  };
  const encoded = async (weight: SourceWeight, type: "f16" | "bf16" | "f32") => {
    const pieces: Uint8Array[] = [];
    for await (const piece of encodedSlices(weight, type)) pieces.push(piece);
    return Buffer.concat(pieces);
  };

  it.each([
    ["f16", "bf16"],
    ["bf16", "f16"],
    ["f16", "f32"],
  ] as const)("in %s become %s as small ones do", async (from, to) => {
    const stored = values.map((value) => (from === "bf16" ? Math.round(value * 8) / 8 : value));
    expect((await encoded(table(from, stored), to)).equals(encodeDense(to, stored))).toBe(true);
  });

  it("are found to fit a type, or not to, by any one value", async () => {
    const fitting = table(
      "bf16",
      values.map((value) => Math.round(value)),
    );
    expect(await narrowestExact([fitting], ["f16", "f32"])).toBe("f16");
    const large = values.map((value) => Math.round(value));
    large[rows * cols - 1] = 1e30;
    expect(await narrowestExact([table("bf16", large)], ["f16", "f32"])).toBe("f32");
    // 2 is less 1 in what is written: 1 fits, 257 − 1 does, 258 − 1 does not.
    const shifted = (last: number) => {
      const own = new Float32Array(rows * cols).fill(2);
      own[own.length - 1] = last;
      return table("f16", own);
    };
    expect(await narrowestExact([shifted(257)], ["bf16", "f32"], () => 1)).toBe("bf16");
    expect(await narrowestExact([shifted(258)], ["bf16", "f32"], () => 1)).toBe("f32");
  });

  it("are refused where a value is beyond f16", async () => {
    const large = values.slice();
    large[70_000 % large.length] = 1e6;
    await expect(encoded(table("bf16", large), "f16")).rejects.toThrow(/does not fit/);
  });
});
