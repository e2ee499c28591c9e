/** Every way in which a weight can lie in a file, or fail to. One long file, since all cases share the builders of tensors. */
import { describe, expect, it } from "vitest";
import type { Program, TernaryTensor } from "../backend/program.ts";
import { blobSource, bytesSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";
import { bf16ToF32, f32ToBf16, f32ToF16 } from "../base/float16.ts";
import type { TensorInfo, TensorType } from "../formats/tensor.ts";
import { unpackComputeRow } from "../packing/compute-layout.ts";
import { encodeDense } from "../packing/dense-encode.ts";
import type { PackingId, Scale } from "../packing/packing.ts";
import { packings } from "../packing/registry.ts";
import type { MasterType } from "../packing/ternarise.ts";
import { type BindOptions, bindWeights, type WeightFiles } from "./bind-weights.ts";
import { Recorder } from "./recorder.ts";
import { ggufWeightName } from "./weight-names.ts";

function tensor(name: string, type: TensorType, shape: readonly number[], bytes: Uint8Array): TensorInfo {
  return { name, type, shape, source: bytesSource(bytes, name), offset: 0, byteLength: bytes.length };
}

/** Every read is noted as [offset, length]. */
function inFile(path: string, infos: readonly TensorInfo[], contents: readonly Uint8Array[]) {
  const reads: [number, number][] = [];
  const padding = 64;
  const starts = contents.map((_, i) =>
    contents.slice(0, i).reduce((end, { length }) => end + length + padding, padding),
  );
  const bytes = new Uint8Array((starts.at(-1) ?? 0) + (contents.at(-1)?.length ?? 0));
  contents.forEach((content, i) => {
    bytes.set(content, starts[i]);
  });
  const memory = bytesSource(bytes, path);
  const source = {
    ...memory,
    path,
    read(offset: number, length: number) {
      reads.push([offset, length]);
      return memory.read(offset, length);
    },
  };
  const tensors = infos.map((info, i) => ({ ...info, source, offset: starts[i] ?? 0 }));
  return { tensors, reads, size: bytes.length };
}

function floats(type: MasterType, values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * (type === "f32" ? 4 : 2)));
  values.forEach((value, i) => {
    if (type === "f32") view.setFloat32(4 * i, value, true);
    else view.setUint16(2 * i, type === "f16" ? f32ToF16(value) : f32ToBf16(value), true);
  });
  return new Uint8Array(view.buffer);
}

const recorder = () => new Recorder({ name: "test", contextLength: 16, vocabSize: 4 });

function filesOf(tensors: readonly TensorInfo[], rest: Partial<WeightFiles> = {}): WeightFiles {
  return {
    tensors: new Map(tensors.map((info) => [info.name, info])),
    fileName: ggufWeightName,
    weightScale: "multiplies",
    floatsMayBeProducts: false,
    floatsAreMasters: true,
    masters: "ternary",
    ...rest,
  };
}

/** A program with one ternary weight. */
function bindTernary(
  [rows, cols]: readonly [number, number],
  tensors: readonly TensorInfo[],
  rest: Partial<WeightFiles> = {},
): Promise<Program> {
  const m = recorder();
  m.ternary("w", rows, cols);
  return bindWeights(m.recording, filesOf(tensors, rest));
}

function bindDense(
  [rows, cols]: readonly [number, number],
  tensors: readonly TensorInfo[],
): Promise<Program> {
  const m = recorder();
  m.dense("w", rows, cols);
  return bindWeights(m.recording, filesOf(tensors));
}

async function errorOf(binding: Promise<unknown>): Promise<BitNetError> {
  const error = await binding.then(
    () => new Error("expected a failure"),
    (reason: unknown) => reason,
  );
  if (error instanceof BitNetError) return error;
  throw error;
}

function weightOf(program: Program, buffer = 0) {
  const found = program.buffers[buffer];
  if (found?.class !== "weight") throw new Error(`buffer ${buffer} is no weight`);
  return found.tensor;
}

function ternaryOf(program: Program): TernaryTensor {
  const found = weightOf(program);
  if (found.kind !== "ternary") throw new Error("expected a ternary tensor");
  return found;
}

/** The trits that a backend sees, [rows, cols]. */
function tritsOf(program: Program): Int8Array {
  const { source, offset, rows, cols } = ternaryOf(program);
  const found = program.sources[source];
  if (found?.kind !== "bytes") throw new Error("expected bytes");
  const rowBytes = Math.ceil(cols / 128) * 32;
  expect(found.bytes.length).toBeGreaterThanOrEqual(offset + rows * rowBytes);
  const out = new Int8Array(rows * cols);
  for (let r = 0; r < rows; r++)
    unpackComputeRow(found.bytes, offset + r * rowBytes, cols, out.subarray(r * cols));
  return out;
}

const tritPattern = (n: number) => Int8Array.from({ length: n }, (_, i) => ((i * 7 + (i >> 3)) % 3) - 1);
const one: Scale = { kind: "tensor", value: 0.75 };
const packed = (type: PackingId, shape: readonly [number, number], scale: Scale = one) =>
  tensor(
    "w.weight",
    type,
    shape,
    packings[type].pack(tritPattern(shape[0] * shape[1]), { rows: shape[0], cols: shape[1] }, scale),
  );

describe("a weight that does not fit", () => {
  it("is missing", async () => {
    const error = await errorOf(bindTernary([2, 128], []));
    expect(error.code).toBe("MODEL_INVALID");
    expect(error.message).toBe('tensor "w.weight" is missing from the model file');
  });

  it.each<[readonly [number, number], readonly number[], string]>([
    [[2, 128], [3, 128], "3 × 128"],
    [[2, 128], [2, 256], "2 × 256"],
    [[2, 128], [128, 2], "128 × 2"],
    [[2, 128], [256], "1 × 256"],
    [[2, 128], [2, 128, 1], "256 × 1"],
  ])("has another shape: wanted %j, found %j", async (wanted, found, shown) => {
    const size = found.reduce((product, n) => product * n, 1);
    const error = await errorOf(
      bindDense(wanted, [tensor("w.weight", "f32", found, new Uint8Array(4 * size))]),
    );
    expect(error.code).toBe("MODEL_INVALID");
    expect(error.message).toBe(
      `tensor "w.weight" is ${shown}, but the configuration wants ${wanted[0]} × ${wanted[1]}`,
    );
  });

  it("may have its dimensions spread", async () => {
    const spread = tensor("w.weight", "f32", [1, 2, 4], new Uint8Array(32));
    expect(weightOf(await bindDense([2, 4], [spread]))).toMatchObject({ rows: 2, cols: 4 });
  });

  it.each<TensorType>(["i2_s", "tq2_0", "hf_u8", "u8", "i8"])(
    "is %s where a dense one is wanted",
    async (type) => {
      const error = await errorOf(
        bindDense([4, 128], [tensor("w.weight", type, [4, 128], new Uint8Array(512))]),
      );
      expect(error.code).toBe("FORMAT_UNSUPPORTED");
      expect(error.message).toBe(
        `tensor "w.weight" is stored as ${type}, expected one of f32, f16, bf16, q8_0, q6_k, q4_0, q4_k, q4_1, q5_0, q5_1, q5_k`,
      );
    },
  );

  it.each<TensorType>(["q8_0", "q4_0", "q6_k", "u8", "i8"])(
    "is %s where a ternary one is wanted",
    async (type) => {
      const error = await errorOf(
        bindTernary([4, 256], [tensor("w.weight", type, [4, 256], new Uint8Array(4096))]),
      );
      expect(error.code).toBe("FORMAT_UNSUPPORTED");
      expect(error.message).toMatch(`tensor "w.weight" is stored as ${type}, expected a ternary packing`);
    },
  );

  it("is of a type that is not read", async () => {
    const unread = tensor("w.weight", { unknown: 38, reason: "TL1 is tiled" }, [4, 128], new Uint8Array(1));
    for (const binding of [bindTernary([4, 128], [unread]), bindDense([4, 128], [unread])]) {
      const error = await errorOf(binding);
      expect(error.code).toBe("FORMAT_UNSUPPORTED");
      expect(error.message).toMatch(/"w.weight" is of type 38, .*TL1 is tiled/);
    }
  });
});

describe("a ternary weight", () => {
  it.each<[PackingId, readonly [number, number]]>([
    ["i2_s", [3, 128]],
    ["i2_s", [8, 80]],
    ["i2_s_64", [4, 48]],
    ["i2_s_rows4", [8, 37]],
    ["tq1_0", [2, 256]],
    ["tq2_0", [2, 512]],
    ["iq1_bn", [3, 192]],
    ["iq2_bn", [3, 64]],
  ])("in %s [%j] keeps trits and scale", async (type, shape) => {
    const program = await bindTernary(shape, [packed(type, shape)]);
    expect(tritsOf(program)).toEqual(tritPattern(shape[0] * shape[1]));
    expect(ternaryOf(program)).toMatchObject({ rows: shape[0], cols: shape[1], scale: one });
  });

  it("in I2_S whose rows are no whole blocks gets padded rows of zeros", async () => {
    const program = await bindTernary([8, 80], [packed("i2_s", [8, 80])]);
    const [source] = program.sources;
    if (source?.kind !== "bytes") throw new Error("expected bytes");
    expect(source.bytes.length).toBe(8 * 32);
    const whole = new Int8Array(128);
    for (let r = 0; r < 8; r++) {
      unpackComputeRow(source.bytes, 32 * r, 128, whole);
      expect(whole.subarray(0, 80)).toEqual(tritPattern(8 * 80).subarray(80 * r, 80 * (r + 1)));
      expect(whole.subarray(80).every((trit) => trit === 0)).toBe(true);
    }
  });

  it("keeps scales per row and per group", async () => {
    const perRow: Scale = { kind: "row", values: Float32Array.of(1, 2, 4) };
    expect(ternaryOf(await bindTernary([3, 64], [packed("iq2_bn", [3, 64], perRow)])).scale).toEqual(perRow);
    const perGroup: Scale = { kind: "group", size: 256, values: Float32Array.of(1, 2, 4, 8) };
    expect(ternaryOf(await bindTernary([2, 512], [packed("tq2_0", [2, 512], perGroup)])).scale).toEqual(
      perGroup,
    );
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "refuses a scale of %f",
    async (value) => {
      const scale: Scale = { kind: "tensor", value };
      const inRows: Scale = { kind: "row", values: Float32Array.of(1, value, 1) };
      const file = inFile(
        "/m.gguf",
        [packed("i2_s", [4, 128])],
        [packings.i2_s.pack(tritPattern(512), { rows: 4, cols: 128 }, scale)],
      );
      for (const binding of [
        bindTernary([4, 128], [packed("i2_s", [4, 128], scale)]),
        bindTernary([4, 128], file.tensors),
        bindTernary([8, 80], [packed("i2_s", [8, 80], scale)]),
        bindTernary([3, 64], [packed("iq2_bn", [3, 64], inRows)]),
      ]) {
        const error = await errorOf(binding);
        expect(error.code).toBe("MODEL_INVALID");
        expect(error.message).toBe(`tensor "w.weight" has a scale of ${value}; the file may be corrupt`);
      }
    },
  );
});

describe("a ternary weight in Q8_0", () => {
  const shape = [3, 256] as const;
  const trits = tritPattern(3 * 256);
  const v = 0.75 * 127; // a block's d is 0.75
  const stored = (values: Float32Array) => tensor("w.weight", "q8_0", shape, encodeDense("q8_0", values));

  it("is the trits and the scale that the quantiser was given, as far as f16 goes", async () => {
    const program = await bindTernary(shape, [stored(Float32Array.from(trits, (trit) => trit * v))]);
    expect(tritsOf(program)).toEqual(trits);
    expect(ternaryOf(program).scale).toEqual({ kind: "tensor", value: v });
  });

  it("may have a scale for each row", async () => {
    const values = Float32Array.from(trits, (trit, i) => trit * v * 2 ** Math.floor(i / 256));
    const program = await bindTernary(shape, [stored(values)]);
    expect(tritsOf(program)).toEqual(trits);
    // As groups, of which all of a row have the same.
    const { scale } = ternaryOf(program);
    expect(scale.kind === "tensor" ? [] : [...new Set(scale.values)]).toEqual([v, 2 * v, 4 * v]);
  });

  it("is refused where it was rounded, masters too", async () => {
    const rounded = stored(Float32Array.from(trits, (trit, i) => trit * v + (i % 7) / 3));
    for (const floatsAreMasters of [true, false]) {
      const error = await errorOf(bindTernary(shape, [rounded], { floatsAreMasters }));
      expect(error.code).toBe("FORMAT_UNSUPPORTED");
      expect(error.message).toMatch(
        /"w.weight" is stored as q8_0, .*rounding has lost the ternary weights: take/,
      );
    }
  });
});

describe("a packed weight of Hugging Face", () => {
  const weight = packed("hf_u8", [8, 48]);
  const scaleOf = (type: TensorType, shape: readonly number[], bytes: Uint8Array) =>
    tensor("w.weight_scale", type, shape, bytes);

  it.each<[MasterType, readonly number[]]>([
    ["f32", [1]],
    ["f16", [1]],
    ["bf16", [1]],
    ["bf16", []],
    ["f32", [1, 1]],
  ])("takes its scale from a tensor beside it: %s %j", async (type, shape) => {
    const program = await bindTernary([8, 48], [weight, scaleOf(type, shape, floats(type, [1.375]))]);
    expect(tritsOf(program)).toEqual(tritPattern(8 * 48));
    expect(ternaryOf(program).scale).toEqual({ kind: "tensor", value: 1.375 });
  });

  it.each([[8], [8, 1]])("takes one scale for each row from it: %j", async (...shape) => {
    const values = [1, 2, 4, 8, 0.5, 0.25, 3, 5];
    const scales = scaleOf("f32", shape, floats("f32", values));
    expect(ternaryOf(await bindTernary([8, 48], [weight, scales])).scale).toEqual({
      kind: "row",
      values: Float32Array.from(values),
    });
    const divided = await bindTernary([8, 48], [weight, scales], { weightScale: "divides" });
    expect(ternaryOf(divided).scale).toEqual({
      kind: "row",
      values: Float32Array.from(values, (value) => 1 / value),
    });
    const equal = scaleOf("f32", shape, floats("f32", values.fill(1.5)));
    expect(ternaryOf(await bindTernary([8, 48], [weight, equal])).scale).toEqual({
      kind: "tensor",
      value: 1.5,
    });
  });

  it.each([3, 0.1, 7.0312e5])(
    "of a file whose scales divide has the reciprocal of %d, rounded to f32",
    async (value) => {
      const stored = Math.fround(value);
      const scale = scaleOf("f32", [1], floats("f32", [stored]));
      const program = await bindTernary([8, 48], [weight, scale], { weightScale: "divides" });
      expect(ternaryOf(program).scale).toEqual({ kind: "tensor", value: Math.fround(1 / stored) });
      const half = scaleOf("bf16", [1], floats("bf16", [value]));
      const fromHalf = await bindTernary([8, 48], [weight, half], { weightScale: "divides" });
      const expected = Math.fround(1 / bf16ToF32(f32ToBf16(value)));
      expect(ternaryOf(fromHalf).scale).toEqual({ kind: "tensor", value: expected });
    },
  );

  it.each<[string, TensorInfo[], string]>([
    ["missing", [], "nothing"],
    ["one per column", [scaleOf("f32", [48], new Uint8Array(192))], "f32 [48]"],
    ["empty", [scaleOf("f32", [0], new Uint8Array(0))], "f32 [0]"],
    ["of integers", [scaleOf("i8", [1], new Uint8Array(1))], "i8 [1]"],
    [
      "of a type that is not read",
      [scaleOf({ unknown: "F64", reason: "x" }, [1], new Uint8Array(8))],
      "F64 [1]",
    ],
  ])("is refused when its scale is %s", async (_, scales, found) => {
    const error = await errorOf(bindTernary([8, 48], [weight, ...scales]));
    expect(error.code).toBe("MODEL_INVALID");
    expect(error.message).toBe(
      `tensor "w.weight" needs a single number, or one for each row, "w.weight_scale" beside it, found ${found}`,
    );
  });

  it("is refused when its scale is not finite, or divides by zero", async () => {
    const nan = scaleOf("f32", [1], floats("f32", [Number.NaN]));
    expect((await errorOf(bindTernary([8, 48], [weight, nan]))).code).toBe("MODEL_INVALID");
    const zero = scaleOf("bf16", [1], floats("bf16", [0]));
    const error = await errorOf(bindTernary([8, 48], [weight, zero], { weightScale: "divides" }));
    expect(error.message).toMatch("has a scale of Infinity");
    expect(ternaryOf(await bindTernary([8, 48], [weight, zero])).scale).toEqual({ kind: "tensor", value: 0 });
  });
});

describe.each<MasterType>(["f32", "f16", "bf16"])("a weight in %s", (type) => {
  const shape = [2, 4] as const;
  const masters = tensor("w.weight", type, shape, floats(type, [1, -2, 0.25, 0, 2, -0.5, 3, -3.25]));
  const products = tensor("w.weight", type, shape, floats(type, [1.5, -1.5, 0, -0, 1.5, 0, 0, 1.5]));
  const trits = tensor("w.weight", type, shape, floats(type, [1, -1, 0, -0, 1, 0, 0, 1]));
  const scale = tensor("w.weight_scale", type, [1], floats(type, [0.625]));
  const expected = Int8Array.of(1, -1, 0, 0, 1, 0, 0, 1);

  it("is ternarised by its mean magnitude", async () => {
    for (const floatsMayBeProducts of [false, true]) {
      const program = await bindTernary(shape, [masters], { floatsMayBeProducts });
      expect(Array.from(tritsOf(program))).toEqual([1, -1, 0, 0, 1, 0, 1, -1]);
      expect(ternaryOf(program).scale).toEqual({ kind: "tensor", value: 1.5 });
    }
  });

  it("that holds products of trits and scale already keeps both where such files exist", async () => {
    const program = await bindTernary(shape, [products], { floatsMayBeProducts: true });
    expect(tritsOf(program)).toEqual(expected);
    expect(ternaryOf(program).scale).toEqual({ kind: "tensor", value: 1.5 });
    // Masters that happen to have one magnitude: the mean, as they were trained with.
    const mean = await bindTernary(shape, [products]);
    expect(tritsOf(mean)).toEqual(expected);
    expect(ternaryOf(mean).scale).toEqual({ kind: "tensor", value: 0.75 });
  });

  it("that holds trits takes the scale beside it, and masters do not", async () => {
    const program = await bindTernary(shape, [trits, scale]);
    expect(tritsOf(program)).toEqual(expected);
    expect(ternaryOf(program).scale).toEqual({ kind: "tensor", value: 0.625 });
    expect(ternaryOf(await bindTernary(shape, [masters, scale])).scale).toEqual({
      kind: "tensor",
      value: 1.5,
    });
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])("is refused with %f in it", async (bad) => {
    const broken = tensor("w.weight", type, shape, floats(type, [1, 1, 0, bad, 1, 1, 0, 0]));
    for (const floatsMayBeProducts of [false, true]) {
      const error = await errorOf(bindTernary(shape, [broken], { floatsMayBeProducts }));
      expect(error.code).toBe("NUMERIC_FAILURE");
      expect(error.message).toMatch(/^tensor "w.weight": .*NaN or infinity/);
    }
  });

  it("of zeros alone is zero", async () => {
    const zeros = tensor("w.weight", type, shape, floats(type, [0, 0, 0, 0, 0, -0, 0, 0]));
    for (const floatsMayBeProducts of [false, true]) {
      const program = await bindTernary(shape, [zeros], { floatsMayBeProducts });
      expect(tritsOf(program)).toEqual(new Int8Array(8));
      expect(ternaryOf(program).scale).toEqual({ kind: "tensor", value: 0 });
    }
  });
});

/** Two ternary weights (the first in compute layout, the second not), a dense one and a RoPE table. */
function model() {
  const m = recorder();
  m.dense("embd", 4, 6);
  m.ternary("a", 2, 256);
  m.f32("x", 6);
  m.ternary("b", 8, 80);
  m.ropeTable("rope", { headDim: 6, theta: 10000, scaling: null });
  m.dense("norm", 1, 6);
  return m.recording;
}
const contents = [
  floats(
    "f16",
    Array.from({ length: 24 }, (_, i) => i),
  ),
  packings.i2_s.pack(tritPattern(512), { rows: 2, cols: 256 }, { kind: "tensor", value: 3 }),
  packings.i2_s.pack(tritPattern(640), { rows: 8, cols: 80 }, { kind: "tensor", value: 5 }),
  floats("f32", [1, 2, 3, 4, 5, 6]),
];
const infos = [
  tensor("embd.weight", "f16", [4, 6], contents[0] ?? new Uint8Array()),
  tensor("a.weight", "i2_s", [2, 256], contents[1] ?? new Uint8Array()),
  tensor("b.weight", "i2_s", [8, 80], contents[2] ?? new Uint8Array()),
  tensor("norm.weight", "f32", [6], contents[3] ?? new Uint8Array()),
];

describe("where the bytes are", () => {
  it("a local file is referred to, and only what is transcoded is read", async () => {
    const { tensors, reads, size } = inFile("/models/m.gguf", infos, contents);
    const program = await bindWeights(model(), filesOf(tensors));
    expect(program.sources[0]).toEqual({ kind: "file", path: "/models/m.gguf", size });
    expect(program.sources.slice(1).map(({ kind }) => kind)).toEqual(["bytes", "bytes"]);
    const offset = (i: number) => tensors[i]?.offset ?? Number.NaN;
    expect(weightOf(program, 0)).toMatchObject({
      source: 0,
      offset: offset(0),
      type: "f16",
      rows: 4,
      cols: 6,
    });
    expect(weightOf(program, 1)).toMatchObject({
      source: 0,
      offset: offset(1),
      scale: { kind: "tensor", value: 3 },
    });
    expect(weightOf(program, 3)).toMatchObject({
      source: 1,
      offset: 0,
      scale: { kind: "tensor", value: 5 },
    });
    expect(weightOf(program, 4)).toMatchObject({ source: 2, type: "f32", rows: 16, cols: 6 });
    expect(weightOf(program, 5)).toMatchObject({
      source: 0,
      offset: offset(3),
      type: "f32",
      rows: 1,
      cols: 6,
    });
    expect(reads).toEqual([
      [offset(1) + 128, 32], // the scale behind the weights
      [offset(2), 192],
    ]);
  });

  it("several files are several sources", async () => {
    const first = inFile("/models/1.gguf", infos.slice(0, 2), contents.slice(0, 2));
    const second = inFile("/models/2.gguf", infos.slice(2), contents.slice(2));
    const program = await bindWeights(model(), filesOf([...first.tensors, ...second.tensors]));
    expect(program.sources.flatMap((source) => (source.kind === "file" ? [source.path] : []))).toEqual([
      "/models/1.gguf",
      "/models/2.gguf",
    ]);
    expect(weightOf(program, 1).source).toBe(weightOf(program, 0).source);
    expect(weightOf(program, 5).source).not.toBe(weightOf(program, 0).source);
  });

  it("a Blob is read", async () => {
    const { tensors } = inFile("unused", infos, contents);
    const whole = await Promise.all(tensors.map(({ source }) => source.read(0, source.size)));
    const source = blobSource(new Blob([whole[0]?.slice() ?? new Uint8Array()]), "m.gguf");
    const program = await bindWeights(model(), filesOf(tensors.map((info) => ({ ...info, source }))));
    expect(program.sources.every(({ kind }) => kind === "bytes")).toBe(true);
    const bytesOf = (buffer: number) => {
      const found = program.sources[weightOf(program, buffer).source];
      return found?.kind === "bytes" ? found.bytes : new Uint8Array();
    };
    expect(weightOf(program, 0).offset).toBe(0);
    expect(bytesOf(0)).toEqual(contents[0]);
    expect(bytesOf(1)).toEqual(contents[1]);
    expect(bytesOf(5)).toEqual(contents[3]);
  });
});

describe("progress and abort", () => {
  const bind = (options: BindOptions, tensors = infos) => bindWeights(model(), filesOf(tensors), options);

  it("progress ascends to exactly 1, counted in weights", async () => {
    const seen: number[] = [];
    await bind({ onProgress: (fraction) => seen.push(fraction) });
    const total = 24 + 512 + 640 + 6;
    expect(seen).toEqual([24, 536, 1176, 1176, total].map((done) => done / total));
  });

  it("a fired signal ends it before anything is read", async () => {
    const { tensors, reads } = inFile("/m", infos, contents);
    expect((await errorOf(bind({ signal: AbortSignal.abort() }, tensors))).code).toBe("ABORTED");
    expect(reads).toEqual([]);
  });

  it("a signal that fires on the way ends it at the next weight", async () => {
    const { tensors, reads } = inFile("/m", infos, contents);
    const controller = new AbortController();
    const seen: number[] = [];
    const onProgress = (fraction: number) => {
      if (seen.push(fraction) === 2) controller.abort();
    };
    expect((await errorOf(bind({ onProgress, signal: controller.signal }, tensors))).code).toBe("ABORTED");
    expect(seen).toHaveLength(2);
    expect(reads).toHaveLength(1);
  });
});

it("a context that would need a gigantic RoPE table is refused before memory is taken", async () => {
  const m = new Recorder({ name: "test", contextLength: 2 ** 20, vocabSize: 4 });
  m.ropeTable("rope", { headDim: 258, theta: 10000, scaling: null });
  const error = await errorOf(bindWeights(m.recording, filesOf([])));
  expect(error.code).toBe("OUT_OF_MEMORY");
  expect(error.message).toMatch(/at most 1040447 are supported; ask for a shorter context/);
});

describe("full-precision weights", () => {
  const masters = [0.4, -0.9, 0.1, 0.7, ...Array.from({ length: 124 }, () => 0.2)];
  const products = masters.map((value) => Math.sign(value) * 0.5);

  it.each([
    [false, masters, "refused"],
    [false, products, "read"],
    [true, masters, "read"],
  ])("with floatsAreMasters %s", async (floatsAreMasters, values, outcome) => {
    const bound = bindTernary([1, 128], [tensor("w.weight", "f32", [1, 128], floats("f32", values))], {
      floatsAreMasters,
      floatsMayBeProducts: !floatsAreMasters,
    });
    if (outcome === "read") {
      await bound;
      return;
    }
    const error = await errorOf(bound);
    expect(error.code).toBe("MODEL_UNSUPPORTED");
    expect(error.message).toMatch(/"w.weight" holds full-precision weights, and nothing in the files says/);
  });
});

describe("a scale beside a packed weight", () => {
  const scaleTensor = tensor("w.scale", "f32", [1], floats("f32", [0.25]));

  it.each<PackingId>(["i2_s", "tq2_0"])("multiplies that of %s", async (type) => {
    const program = await bindTernary([2, 256], [packed(type, [2, 256]), scaleTensor]);
    expect(weightOf(program)).toMatchObject({ scale: { kind: "tensor", value: 0.75 * 0.25 } });
  });

  it("must be one number", async () => {
    const wrong = tensor("w.scale", "f32", [2], floats("f32", [1, 2]));
    const error = await errorOf(bindTernary([2, 256], [packed("i2_s", [2, 256]), wrong]));
    expect(error.message).toMatch(/"w.weight" needs a single number "w.scale" beside it, found f32 \[2\]/i);
  });
});
