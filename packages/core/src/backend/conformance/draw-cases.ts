/** Conformance cases of draws from all logits: every filter alone and all together, flat and peaked distributions, ties, penalties, masks. */
import type { DrawWant, HeadRequest } from "../step.ts";
import { CaseBuilder, type ConformanceCase, plainStep } from "./case.ts";

type Settings = Partial<Pick<DrawWant, "temperature" | "topK" | "typicalP" | "topP" | "minP">>;

const settings: readonly Settings[] = [
  {},
  { temperature: 0 },
  { topK: 40 },
  { topP: 0.9 },
  { topP: 0.05 },
  { topP: 1e-9 },
  { minP: 0.1 },
  { minP: 1 },
  { minP: 1e-12 },
  { typicalP: 0.3 },
  { typicalP: 0.95 },
  { topK: 300, typicalP: 0.9, topP: 0.8, minP: 0.02 },
  { temperature: 30, topP: 0.99 },
  { temperature: 0.01, typicalP: 0.5, topP: 0.5 },
  { temperature: 1e-6, topP: 0.9 },
  { temperature: 1e38, minP: 0.5 },
];

export function drawCases(): ConformanceCase[] {
  return [
    drawCase(1001, 40, 1),
    drawCase(4200, 24, 8),
    drawCase(777, 33, 40),
    drawCase(3000, 16, 0),
    drawCase(5, 3, 2),
  ];
}

/** @param spread Size of the logits; 0 makes all of them alike. */
function drawCase(vocabSize: number, cols: number, spread: number): ConformanceCase {
  const b = new CaseBuilder(2900 + vocabSize + spread);
  const x = b.f32("x", cols);
  const weight = b.dense("norm", "f32", 1, cols, new Float32Array(cols).fill(spread / Math.sqrt(cols / 3)));
  const values = b.draw.floats(vocabSize * cols);
  // Equal rows share a rank.
  for (let row = 3; row < vocabSize; row += 3) values.copyWithin(row * cols, 0, cols);
  b.add({ op: "head", x, weight, eps: 1e-5, table: b.dense("table", "f16", vocabSize, cols, values) });
  const words = Math.ceil(vocabSize / 32);
  const requests = settings.flatMap((each, i): Omit<HeadRequest, "row">[] => {
    const none = new Int32Array();
    const some = distinct(b, vocabSize, 30);
    const allow = Uint32Array.from({ length: words }, () => b.draw.bits());
    return [
      { want: want(b, each, i, none) },
      { want: { ...want(b, each, i, some), nBest: Math.min(5, vocabSize) }, apart: some, logSumExp: true },
      { want: want(b, each, i, some), apart: some, allow },
      { want: { ...want(b, each, i, none), nBest: vocabSize }, allow: new Uint32Array(words) },
    ];
  });
  const nRows = requests.length;
  const heads = requests.map((request, row) => ({ row, ...request }));
  const step = plainStep(nRows, { inputs: [{ buffer: x, values: b.draw.floats(nRows * cols) }], heads });
  return {
    name: `draw from ${vocabSize} logits of size ${spread}`,
    program: b.program("draw", { vocabSize }),
    kvType: "f16",
    nPages: 1,
    maxRows: nRows,
    steps: [step, ...heads.slice(20, 24).map((head) => ({ ...step, heads: [head] }))],
    wants: ["draw"],
  };
}

function want(b: CaseBuilder, each: Settings, index: number, apart: Int32Array): DrawWant {
  const biases = Float32Array.from(apart, () => [0, 3, -2.5, Number.NEGATIVE_INFINITY][b.draw.below(4)] ?? 0);
  return {
    ...{ kind: "draw", temperature: 0.7, topK: 0, typicalP: 1, topP: 1, minP: 0, ...each },
    ...{ seed: b.draw.bits(), choice: index % 3, index, nBest: 0 },
    penalties: { repeat: 1.3, frequency: 0.2, presence: index % 2 },
    counts: apart.map(() => b.draw.below(4)),
    biases,
  };
}

function distinct(b: CaseBuilder, vocabSize: number, count: number): Int32Array {
  const ids = new Set<number>();
  while (ids.size < Math.min(count, vocabSize)) ids.add(b.draw.below(vocabSize));
  return Int32Array.from(ids);
}
