/**
 * Known answers before a device is trusted: a tiny program with a product, a rotation, the cache and attention, whose answers are compared with those of
 * the reference backend. Integers have to be right to the last bit; what is far off elsewhere is a broken driver.
 */
import {
  type Backend,
  BitNetError,
  createReferenceBackend,
  type Program,
  type Step,
  threefry,
} from "@bitnet.ts/core";

const [nRows, cols, headDim] = [5, 300, 64];
/** More than rounding makes of values near 1. */
const tolerance = 1e-3;

/** @throws BitNetError BACKEND_UNAVAILABLE naming what is wrong. */
export async function proveDevice(backend: Backend): Promise<void> {
  const [program, step] = [proofProgram(), proofStep()];
  const expected = await answersOf(createReferenceBackend(), program, step);
  const found = await answersOf(backend, program, step);
  for (const [i, wanted] of expected.entries()) {
    const given = found[i] ?? new Float32Array();
    const wrong = wanted.findIndex((value, j) => !(Math.abs(value - (given[j] ?? Number.NaN)) <= tolerance));
    if (wrong < 0) continue;
    const text = `webgpu: this adapter computes wrongly: ${names[i]}[${wrong}] is ${given[wrong]}, expected ${wanted[wrong]}`;
    throw new BitNetError("BACKEND_UNAVAILABLE", text);
  }
}

const names = ["product", "attention", "logits"];

async function answersOf(backend: Backend, program: Program, step: Step): Promise<Float32Array[]> {
  const executable = await backend.load(program, { kvType: "f16", nPages: 1, maxRows: nRows });
  try {
    const { outputs, heads } = await executable.run(step);
    return [
      ...outputs.map(({ values }) => values ?? new Float32Array()),
      heads[0]?.logits ?? new Float32Array(),
    ];
  } finally {
    await executable.dispose();
  }
}

function proofProgram(): Program {
  const weightBytes = 2 * headDim * Math.ceil(cols / 128) * 32;
  const bytes = new Uint8Array(weightBytes + 4 * (cols + nRows * headDim + 8 * headDim));
  for (let i = 0; i < weightBytes; i++) bytes[i] = threefry(1, 2, i, 0) & 0xff;
  const floats = new Float32Array(bytes.buffer, weightBytes);
  for (let i = 0; i < floats.length; i++) floats[i] = threefry(1, 2, i, 1) / 2 ** 31 - 1;
  const ternary = (index: number) =>
    ({
      class: "weight",
      name: `w${index}`,
      tensor: {
        kind: "ternary",
        source: 0,
        offset: (index * weightBytes) / 2,
        rows: headDim,
        cols,
        scale: { kind: "tensor", value: 2 ** -5 },
      },
    }) as const;
  const dense = (name: string, rows: number, width: number, at: number) =>
    ({
      class: "weight",
      name,
      tensor: { kind: "dense", type: "f32", source: 0, offset: weightBytes + 4 * at, rows, cols: width },
    }) as const;
  const f32 = (name: string, width: number) =>
    ({ class: "activation", name, type: "f32", cols: width }) as const;
  return {
    name: "known answers",
    contextLength: nRows,
    vocabSize: 8,
    sources: [{ kind: "bytes", name: "known answers", bytes }],
    buffers: [
      f32("x", cols),
      { class: "activation", name: "xq", type: "q8", cols },
      ternary(0),
      ternary(1),
      f32("q", headDim),
      f32("k", headDim),
      f32("out", headDim),
      dense("norm", 1, cols, 0),
      dense("angles", nRows, headDim, cols),
      dense("table", 8, headDim, cols + nRows * headDim),
      { class: "kv", name: "kv", nKvHeads: 1, headDim },
      dense("last norm", 1, headDim, cols),
    ],
    ops: [
      { op: "rmsNormQuant", x: 0, weight: 7, out: 1, eps: 1e-5 },
      { op: "bitLinear", x: 1, weights: [2, 3], outs: [4, 5] },
      { op: "rope", x: 4, table: 8, nHeads: 1, pairing: "half" },
      { op: "writeKv", k: 5, v: 4, kv: 10 },
      { op: "attention", q: 4, kv: 10, out: 6, nHeads: 1, scale: 1 / 64, window: 0 },
      { op: "head", x: 6, weight: 11, eps: 1e-5, table: 9 },
    ],
  };
}

function proofStep(): Step {
  // Eighths of small integers: their squares add up alike in every order, so that they are quantised alike.
  const values = Float32Array.from(
    { length: nRows * cols },
    (_, i) => ((threefry(3, 4, i, 0) % 255) - 127) / 8,
  );
  return {
    tokens: new Int32Array(nRows),
    positions: Int32Array.from({ length: nRows }, (_, i) => i),
    sequences: new Int32Array(nRows),
    pageTables: [Int32Array.of(0)],
    heads: [{ row: nRows - 1, want: { kind: "all" } }],
    inputs: [{ buffer: 0, values }],
    outputs: [5, 6],
  };
}
