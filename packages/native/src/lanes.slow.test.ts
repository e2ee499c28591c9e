/** Steps of many rows, which may keep activations in lanes where nothing asks for them, give the bits of the reference backend. */
import {
  type Backend,
  type BufferDecl,
  createReferenceBackend,
  type LoadOptions,
  type Op,
  type Program,
  type Scale,
  type SourceRef,
  type Step,
} from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { openBackend } from "./backend.ts";
import { nativeStatus } from "./index.ts";
import { missingAddon, ternaryBytes } from "./test-program.test.kit.ts";

interface Shape {
  cols: number;
  ffn: number;
  /** Of the product back to the residual stream. */
  scaleKind: Scale["kind"];
  /** Whether the gate is read once more at the end, so that it has to be kept. */
  isGateRead: boolean;
  /** Whether an addition that no product precedes comes last. */
  hasLooseAddition: boolean;
}

const id = { x: 0, xq: 1, gate: 2, up: 3, gated: 4, gatedQ: 5, y: 6 } as const;
const vocabSize = 48;
/** Its embedding is not finite. */
const badToken = vocabSize - 1;
const loadOptions: LoadOptions = { kvType: "f16", nPages: 4, maxRows: 150 };
const isas = nativeStatus()
  .variants.filter(({ rejected }) => rejected === null)
  .map(({ isa }) => isa);

/** Two layers of x ← x + down(norm(gate(norm(x)) · up(norm(x)))), from the embedding to the logits. */
function twoLayers(change: Partial<Shape>): Program {
  const usual: Shape = {
    cols: 128,
    ffn: 256,
    scaleKind: "tensor",
    isGateRead: false,
    hasLooseAddition: false,
  };
  const { cols, ffn, scaleKind, isGateRead, hasLooseAddition } = { ...usual, ...change };
  const sources: SourceRef[] = [];
  const buffers: BufferDecl[] = [];
  const f32 = (name: string, n: number) => buffers.push({ class: "activation", name, type: "f32", cols: n });
  const q8 = (name: string, n: number) => buffers.push({ class: "activation", name, type: "q8", cols: n });
  const sourceOf = (bytes: Uint8Array) =>
    sources.push({ kind: "bytes", name: `source ${sources.length}`, bytes }) - 1;
  const dense = (name: string, rows: number, values: Float32Array) => {
    const source = sourceOf(new Uint8Array(values.buffer));
    const tensor = {
      kind: "dense",
      type: "f32",
      source,
      offset: 0,
      rows,
      cols: values.length / rows,
    } as const;
    return buffers.push({ class: "weight", name, tensor }) - 1;
  };
  const ternary = (name: string, rows: number, nCols: number, kind: Scale["kind"] = "tensor") => {
    const source = sourceOf(ternaryBytes(rows * Math.ceil(nCols / 128) * 32, rows + nCols));
    const values = (n: number) => Float32Array.from({ length: n }, (_, i) => 0.02 + (i % 29) / 1024);
    const scale: Scale =
      kind === "tensor"
        ? { kind, value: 1 / 32 }
        : kind === "row"
          ? { kind, values: values(rows) }
          : { kind, size: 128, values: values((rows * nCols) / 128) };
    const tensor = { kind: "ternary", source, offset: 0, rows, cols: nCols, scale } as const;
    return buffers.push({ class: "weight", name, tensor }) - 1;
  };
  f32("x", cols);
  q8("xq", cols);
  f32("gate", ffn);
  f32("up", ffn);
  f32("gated", ffn);
  q8("gatedQ", ffn);
  f32("y", cols);
  const values = (n: number, seed: number) =>
    Float32Array.from({ length: n }, (_, i) => Math.sin(i * seed) + 0.1);
  const embedding = values(vocabSize * cols, 0.77);
  embedding[badToken * cols + 3] = Number.POSITIVE_INFINITY;
  const table = dense("embedding", vocabSize, embedding);
  const unembedding = dense("output", vocabSize, values(vocabSize * cols, 0.31));
  const normX = dense("norm", 1, values(cols, 0.5));
  const normGated = dense("sub norm", 1, values(ffn, 0.4));
  const expansions = [ternary("gate", ffn, cols), ternary("up", ffn, cols)];
  const down = ternary("down", cols, ffn, scaleKind);
  const layer: Op[] = [
    { op: "rmsNormQuant", x: id.x, weight: normX, out: id.xq, eps: 1e-5 },
    { op: "bitLinear", x: id.xq, weights: expansions, outs: [id.gate, id.up] },
    { op: "gatedActivation", gate: id.gate, up: id.up, out: id.gated, fn: "silu" },
    { op: "rmsNormQuant", x: id.gated, weight: normGated, out: id.gatedQ, eps: 1e-5 },
    { op: "bitLinear", x: id.gatedQ, weights: [down], outs: [id.y] },
    { op: "residual", x: id.x, y: id.y },
  ];
  const ops: Op[] = [
    { op: "embed", table, out: id.x },
    ...layer,
    ...layer,
    ...(isGateRead ? [{ op: "residual", x: id.up, y: id.gate } as const] : []),
    ...(hasLooseAddition ? [{ op: "residual", x: id.x, y: id.y } as const] : []),
    { op: "head", x: id.x, weight: normX, eps: 1e-5, table: unembedding },
  ];
  return { name: "two layers", contextLength: 64, vocabSize, sources, buffers, ops };
}

/** Rows of seeded tokens, with all logits of some of them. */
function stepOf(nRows: number): Step {
  const rows = [...new Set([0, 15, 16, nRows - 1])].filter((row) => row < nRows);
  return {
    tokens: Int32Array.from({ length: nRows }, (_, i) => (i * 31 + nRows) % badToken),
    positions: new Int32Array(nRows),
    sequences: new Int32Array(nRows),
    pageTables: [],
    heads: rows.map((row) => ({ row, want: { kind: "all" } })),
  };
}

async function answers(backend: Backend, program: Program) {
  const executable = await backend.load(program, loadOptions);
  const heads = [];
  for (const nRows of [1, 15, 16, 17, 33, 130, 150]) heads.push((await executable.run(stepOf(nRows))).heads);
  await executable.dispose();
  return heads;
}

const shapes: [string, Partial<Shape>][] = [
  ["as models have them", {}],
  ["rows that end within a block", { cols: 100, ffn: 203 }],
  ["a scale for each row", { scaleKind: "row" }],
  ["a scale for each group", { scaleKind: "group" }],
  ["a gate that is read elsewhere", { isGateRead: true, cols: 256 }],
  ["an addition without a product", { hasLooseAddition: true }],
];

describe.skipIf(missingAddon)("activations of many rows", () => {
  it.for(shapes)("%s", async ([, change]) => {
    const program = twoLayers(change);
    const expected = await answers(createReferenceBackend(), program);
    for (const isa of isas) {
      const backend = openBackend(isa === isas[0] ? 3 : 1, isa);
      expect(await answers(backend, program), isa).toEqual(expected);
    }
  });

  it("name the row that is not finite", async () => {
    const program = twoLayers({});
    const step = stepOf(40);
    step.tokens[21] = badToken;
    for (const isa of isas) {
      const executable = await openBackend(2, isa).load(program, loadOptions);
      await expect(executable.run(step), isa).rejects.toMatchObject({
        code: "NUMERIC_FAILURE",
        details: { row: 21 },
      });
      await executable.dispose();
    }
  });
});
