/** Conformance cases of the row-wise operations: embed, rmsNormQuant, bitLinear, gatedActivation, residual. */
import { computeRowBytes } from "../../packing/compute-layout.ts";
import type { DenseType, Scale } from "../../packing/packing.ts";
import type { OpOf } from "../operations.ts";
import type { Step } from "../step.ts";
import { CaseBuilder, type ConformanceCase, type Draw, plainStep } from "./case.ts";

const noCache = { kvType: "f16", nPages: 1 } as const;
const denseTypes: readonly DenseType[] = ["f32", "f16", "bf16", "q8_0", "q6_k", "q4_0", "trits", "q4_k"];
const eps = 1e-5;

export function rowCases(): ConformanceCase[] {
  return [
    ...denseTypes.map(embedCase),
    ...[1, 3, 7, 16, 31, 100, 256, 2560, 6917].map((cols) => normCase(cols)),
    ...(
      [
        [8, 4],
        [128, 5],
        [7, 3],
      ] as const
    ).map(([width, nParts]) => partNormCase(width, nParts)),
    ...failureCases(),
    ...bitLinearCases(),
    ...(["relu2", "silu", "gelu"] as const).flatMap((fn) =>
      [1, 3, 7, 16, 33, 6917].map((cols) => gateCase(fn, cols)),
    ),
    ...[1, 7, 2560].map(residualCase),
    ...[1, 7, 2560].flatMap((cols) => [biasCase(cols), scaleCase(cols)]),
    ...(
      [
        [1, 1, 1, "f32"],
        [33, 3, 7, "f16"],
        [64, 16, 48, "bf16"],
        [2560, 32, 640, "f32"],
      ] as const
    ).map(([cols, rank, width, type]) => loraCase(cols, rank, width, type)),
    betweenFloatsCase(),
  ];
}

/** Two adapters in one program, and rows of each, of neither and of one that there is not; then a step without any. */
function loraCase(cols: number, rank: number, width: number, type: "f32" | "f16" | "bf16"): ConformanceCase {
  const b = new CaseBuilder(700 + cols + rank);
  const [x, y] = [b.f32("x", cols), b.f32("y", width)];
  for (const [adapter, scale] of [2, 0.3].entries()) {
    const factors = {
      a: b.dense(`a${adapter}`, type, rank, cols),
      b: b.dense(`b${adapter}`, type, width, rank),
    };
    b.add({ op: "lora", x, ...factors, y, scale, adapter });
  }
  const adapters = Int32Array.of(0, -1, 1, 1, 7, 0, 0);
  const step = (nRows: number, rest: Partial<Step>) =>
    plainStep(nRows, {
      inputs: [
        { buffer: x, values: b.draw.floats(nRows * cols) },
        { buffer: y, values: b.draw.floats(nRows * width) },
      ],
      outputs: [y],
      ...rest,
    });
  const steps = [step(adapters.length, { adapters }), step(1, { adapters: Int32Array.of(1) }), step(3, {})];
  return {
    name: `lora ${cols} ${rank} ${width} ${type}`,
    program: b.program("lora"),
    ...noCache,
    maxRows: 8,
    steps,
  };
}

function embedCase(type: DenseType, index: number): ConformanceCase {
  const b = new CaseBuilder(100 + index);
  const vocabSize = 37;
  const cols = 512;
  const out = b.f32("out", cols);
  b.add({ op: "embed", table: b.dense("table", type, vocabSize, cols), out });
  const tokens = Int32Array.of(0, 36, 5, 5, 17);
  const step = plainStep(tokens.length, { tokens, outputs: [out] });
  return {
    name: `embed ${type}`,
    program: b.program("embed", { vocabSize }),
    ...noCache,
    maxRows: 8,
    steps: [step],
  };
}

/** Rows that quantisers find hard: zeros, ties at .5, one outlier, subnormals, values near the largest. */
function hardRows(draw: Draw, cols: number): Float32Array[] {
  const ties = Float32Array.from({ length: cols }, (_, i) => (i === 0 ? 127 : (i % 50) + 0.5));
  const outlier = draw.floats(cols);
  outlier[cols >> 1] = 3e8;
  const tiny = draw.floats(cols, 1e-39);
  const huge = draw.floats(cols, 1e17);
  return [draw.floats(cols), new Float32Array(cols), ties, outlier, tiny, huge, draw.floats(cols, 1e-3)];
}

function concatenate(rows: readonly Float32Array[]): Float32Array {
  const cols = rows[0]?.length ?? 0;
  const all = new Float32Array(rows.length * cols);
  rows.forEach((row, i) => {
    all.set(row, i * cols);
  });
  return all;
}

function normCase(cols: number): ConformanceCase {
  const b = new CaseBuilder(200 + cols);
  const x = b.f32("x", cols);
  const type = (["f32", "f16", "bf16"] as const)[cols % 3] ?? "f32";
  const out = b.q8("out", cols);
  b.add({ op: "rmsNormQuant", x, weight: b.dense("norm", type, 1, cols), out, eps });
  const rows = hardRows(b.draw, cols);
  const step = plainStep(rows.length, { inputs: [{ buffer: x, values: concatenate(rows) }], outputs: [out] });
  return {
    name: `rmsNormQuant ${cols} ${type}`,
    program: b.program("norm"),
    ...noCache,
    maxRows: 8,
    steps: [step],
  };
}

/** A norm of each head. */
function partNormCase(width: number, nParts: number): ConformanceCase {
  const b = new CaseBuilder(250 + width);
  const cols = width * nParts;
  const x = b.f32("x", cols);
  const out = b.f32("out", cols);
  b.add({ op: "rmsNorm", weight: b.dense("norm", "f32", 1, width), x, out, eps });
  const rows = hardRows(b.draw, cols);
  const step = plainStep(rows.length, { inputs: [{ buffer: x, values: concatenate(rows) }], outputs: [out] });
  return {
    name: `rmsNorm ${nParts} parts of ${width}`,
    program: b.program("part norm"),
    ...noCache,
    maxRows: 8,
    steps: [step],
  };
}

/** NaN, infinity, and a norm weight that overflows, each in the second of three rows. */
function failureCases(): ConformanceCase[] {
  return [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((poison, index) => {
    const b = new CaseBuilder(300 + index);
    const cols = 100;
    const x = b.f32("x", cols);
    const out = b.q8("out", cols);
    b.add({ op: "rmsNormQuant", x, weight: b.dense("norm", "f32", 1, cols), out, eps });
    const values = b.draw.floats(3 * cols);
    values[cols + 77] = poison;
    const step = plainStep(3, { inputs: [{ buffer: x, values }], outputs: [out] });
    return {
      name: `rmsNormQuant refuses ${poison}`,
      program: b.program("failure"),
      ...noCache,
      maxRows: 4,
      steps: [step],
      expectedError: "NUMERIC_FAILURE" as const,
    };
  });
}

function bitLinearCases(): ConformanceCase[] {
  const shapes: [rows: readonly number[], cols: number, nRows: number][] = [
    [[1], 1, 1],
    [[3, 1], 7, 2],
    [[5], 128, 1],
    [[17, 3, 3], 129, 3],
    [[64], 256, 5],
    [[33, 16], 300, 8],
    [[100], 384, 16],
    [[19], 512, 17],
    [[40], 640, 33],
    [[21], 5460, 4],
    [[34], 2560, 70],
    [[2560], 6912, 1],
    [[6912], 2560, 2],
    [[70, 33, 65], 300, 66],
  ];
  const cases = shapes.map(([rows, cols, nRows], i) => bitLinearCase(i, rows, cols, nRows, "tensor"));
  cases.push(bitLinearCase(20, [33, 5], 384, 5, "row"), bitLinearCase(21, [20], 300, 1, "row"));
  cases.push(bitLinearCase(22, [33, 5], 768, 5, 256), bitLinearCase(23, [9], 1024, 1, 128));
  const grouped: [rows: readonly number[], cols: number, nRows: number, scale: "tensor" | "row" | number][] =
    [
      [[5], 128, 1, 128],
      [[33, 5, 5], 384, 5, 128],
      [[64], 1024, 1, 128],
      [[17], 1024, 19, 256],
      [[40, 9], 640, 3, "tensor"],
      [[12], 300, 2, "row"],
      [[2048], 2560, 2, 128],
      [[70, 9], 1280, 66, 128],
    ];
  for (const [i, [rows, columns, nRows, scale]] of grouped.entries())
    cases.push(bitLinearCase(30 + i, rows, columns, nRows, scale, 128));
  return cases.concat(extremeCases());
}

function drawScale(draw: Draw, rows: number, cols: number, kind: "tensor" | "row" | number): Scale {
  const positive = () => Math.fround(0.01 + Math.abs(draw.even()));
  if (kind === "tensor") return { kind, value: positive() };
  if (kind === "row") return { kind, values: Float32Array.from({ length: rows }, positive) };
  return { kind: "group", size: kind, values: Float32Array.from({ length: rows * (cols / kind) }, positive) };
}

function bitLinearCase(
  index: number,
  rows: readonly number[],
  cols: number,
  nRows: number,
  scale: "tensor" | "row" | number,
  groupSize?: 128,
): ConformanceCase {
  const b = new CaseBuilder(400 + index);
  const x = b.f32("x", cols);
  const xq = b.q8("xq", cols, groupSize);
  b.add({ op: "rmsNormQuant", x, weight: b.dense("norm", "f32", 1, cols), out: xq, eps });
  const outs = rows.map((n, i) => b.f32(`out${i}`, n));
  const weights = rows.map((n, i) => b.ternary(`w${i}`, n, cols, drawScale(b.draw, n, cols, scale)));
  b.add({ op: "bitLinear", x: xq, weights, outs });
  const step = plainStep(nRows, {
    inputs: [{ buffer: x, values: b.draw.floats(nRows * cols) }],
    outputs: [xq, ...outs],
  });
  return {
    name: `bitLinear ${rows.join("+")} × ${cols}, ${nRows} rows, scale ${scale}${groupSize ? ", grouped activations" : ""}`,
    program: b.program("bitLinear"),
    ...noCache,
    maxRows: nRows,
    steps: [step],
  };
}

/** Every weight and every activation at its extreme, where a short accumulator would overflow. */
function extremeCases(): ConformanceCase[] {
  return [0x00, 0x55, 0xaa, 0xff].map((code) => {
    const b = new CaseBuilder(450 + code);
    const cols = 6912;
    const x = b.f32("x", cols);
    const xq = b.q8("xq", cols);
    const out = b.f32("out", 9);
    const ones = new Float32Array(cols).fill(1);
    b.add({ op: "rmsNormQuant", x, weight: b.dense("norm", "f32", 1, cols, ones), out: xq, eps });
    const bytes = new Uint8Array(9 * computeRowBytes(cols)).fill(code);
    const weights = [b.ternary("w", 9, cols, { kind: "tensor", value: 1 }, bytes)];
    b.add({ op: "bitLinear", x: xq, weights, outs: [out] });
    const values = new Float32Array(3 * cols).fill(1).fill(-1, cols, 2 * cols);
    const step = plainStep(3, { inputs: [{ buffer: x, values }], outputs: [xq, out] });
    return {
      name: `bitLinear extremes, weight bytes 0x${code.toString(16)}`,
      program: b.program("extremes"),
      ...noCache,
      maxRows: 3,
      steps: [step],
    };
  });
}

function gateCase(fn: OpOf<"gatedActivation">["fn"], cols: number): ConformanceCase {
  const b = new CaseBuilder(500 + cols);
  const gate = b.f32("gate", cols);
  const up = b.f32("up", cols);
  const out = b.f32("out", cols);
  b.add({ op: "gatedActivation", gate, up, out, fn });
  const step = plainStep(3, {
    inputs: [
      { buffer: gate, values: b.draw.floats(3 * cols, 20) },
      { buffer: up, values: b.draw.floats(3 * cols, 3) },
    ],
    outputs: [out],
  });
  return {
    name: `gatedActivation ${fn} ${cols}`,
    program: b.program("gate"),
    ...noCache,
    maxRows: 3,
    steps: [step],
  };
}

function residualCase(cols: number): ConformanceCase {
  const b = new CaseBuilder(600 + cols);
  const x = b.f32("x", cols);
  const y = b.f32("y", cols);
  b.add({ op: "residual", x, y });
  const step = plainStep(5, {
    inputs: [
      { buffer: x, values: b.draw.floats(5 * cols, 10) },
      { buffer: y, values: b.draw.floats(5 * cols) },
    ],
    outputs: [x, y],
  });
  return { name: `residual ${cols}`, program: b.program("residual"), ...noCache, maxRows: 8, steps: [step] };
}

function inPlaceCase(name: string, cols: number, add: (b: CaseBuilder, x: number) => void): ConformanceCase {
  const b = new CaseBuilder(550 + cols);
  const x = b.f32("x", cols);
  add(b, x);
  const step = plainStep(3, { inputs: [{ buffer: x, values: b.draw.floats(3 * cols) }], outputs: [x] });
  return { name: `${name} ${cols}`, program: b.program(name), ...noCache, maxRows: 4, steps: [step] };
}

function biasCase(cols: number): ConformanceCase {
  return inPlaceCase("bias", cols, (b, x) =>
    b.add({ op: "bias", x, bias: b.dense("bias", cols % 2 === 0 ? "bf16" : "f32", 1, cols) }),
  );
}

function scaleCase(cols: number): ConformanceCase {
  return inPlaceCase("scale", cols, (b, x) => b.add({ op: "scale", x, factor: 25.298221281347036 }));
}

/**
 * Multiply-adds whose exact result lies so close to the middle between two f32 that rounding it to f64 first leaves the very middle, from which the even
 * neighbour is taken and not the nearer one; position 1 has subnormal results.
 */
function betweenFloatsCase(): ConformanceCase {
  const [half, nRows] = [40, 3];
  const b = new CaseBuilder(650);
  const x = b.f32("x", 2 * half);
  const angles = new Float32Array(nRows * 2 * half);
  const values = new Float32Array(nRows * 2 * half);
  const e = 2 ** -18; // (1 + e) · (1 − e) is 1 − 2⁻³⁶
  for (let row = 0; row < nRows; row++) {
    for (let i = 0; i < half; i++) {
      const at = row * 2 * half + i;
      const odd = 2 * b.draw.below(2 ** 22) + 1;
      // Half of the last place of `sum` stands between x0 · c and a tie.
      const [sum, x0, c] =
        row === 1
          ? [odd * 2 ** -149, (1 + e) * 2 ** -80, (1 - e) * 2 ** -70]
          : [1 + odd * 2 ** -23, 1 + e, (1 - e) * 2 ** -24];
      values[at] = i % 2 === 0 ? x0 : -x0;
      values[at + half] = 1;
      angles[at] = c;
      angles[at + half] = -sum;
    }
  }
  const table = b.dense("angles", "f32", nRows, 2 * half, angles);
  b.add({ op: "rope", x, table, nHeads: 1, pairing: "half" });
  return {
    name: "rope between two f32",
    program: b.program("rope", { contextLength: nRows }),
    ...noCache,
    maxRows: nRows,
    steps: [plainStep(nRows, { inputs: [{ buffer: x, values }], outputs: [x] })],
  };
}
