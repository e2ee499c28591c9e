/** What is computed together gives the bits of the reference backend, and the same ones whatever a step asks for. */
import {
  type Backend,
  createReferenceBackend,
  type LoadOptions,
  type Program,
  type StepResult,
} from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { type AttentionShape, attentionLayer, attentionStep, layer } from "./attention-layer.test.kit.ts";
import { openBackend } from "./backend.ts";
import { nativeStatus } from "./index.ts";
import { missingAddon } from "./test-program.test.kit.ts";

const isas = nativeStatus()
  .variants.filter(({ rejected }) => rejected === null)
  .map(({ isa }) => isa);

/** Rows and first position: one row, few, more than a panel of activations has, and some behind a context. */
const pieces = [
  [1, 0],
  [4, 1],
  [130, 5],
  [6, 135],
] as const;
const between = [layer.q, layer.k, layer.v, layer.y];

async function answers(backend: Backend, program: Program, options: LoadOptions, outputs: readonly number[]) {
  const executable = await backend.load(program, options);
  const all: StepResult["outputs"][] = [];
  for (const [nRows, position] of pieces)
    all.push((await executable.run(attentionStep(nRows, position, outputs))).outputs);
  await executable.dispose();
  return all;
}

const shapes: [string, Partial<AttentionShape>][] = [
  ["four queries a key", { nHeads: 8, nKvHeads: 2, headDim: 16 }],
  ["neighbours are rotated", { pairing: "adjacent" }],
  ["heads that end within a register", { headDim: 24, nHeads: 2, nKvHeads: 1 }],
  ["heads of three registers", { headDim: 48, nHeads: 8, nKvHeads: 2 }],
  ["heads larger than a chunk", { headDim: 256, nHeads: 1, nKvHeads: 1 }],
  ["a scale for each row", { scaleKind: "row" }],
  ["a scale for each group", { scaleKind: "group" }],
  ["other work before the rotation", { isLate: true }],
  ["results that are read elsewhere", { isKept: true, nHeads: 2, nKvHeads: 2 }],
];

describe.skipIf(missingAddon)("a bitLinear and the operation after it", () => {
  it.for(shapes)("%s", async ([, change]) => {
    const shape: AttentionShape = {
      headDim: 64,
      nHeads: 2,
      nKvHeads: 1,
      scaleKind: "tensor",
      pairing: "half",
      isKept: false,
      isLate: false,
      ...change,
    };
    const program = attentionLayer(shape);
    const results = shape.isKept || shape.isLate ? [layer.x, layer.kept] : [layer.x];
    const all = [...results, ...between];
    const options = { kvType: shape.pairing === "half" ? "f16" : "f32", nPages: 12, maxRows: 130 } as const;
    const expected = await answers(createReferenceBackend(), program, options, all);
    for (const isa of isas) {
      const backend = openBackend(isa === isas[0] ? 3 : 1, isa);
      expect(await answers(backend, program, options, all), `${isa}, all asked for`).toEqual(expected);
      const some = expected.map((outputs) => outputs.slice(0, results.length));
      expect(await answers(backend, program, options, results), isa).toEqual(some);
    }
  });
});
