/** Conformance cases of the head: every kind of answer, ties, masks, ids apart, every table type. */
import type { DenseType } from "../../packing/packing.ts";
import type { HeadRequest, HeadWant } from "../step.ts";
import { CaseBuilder, type ConformanceCase, plainStep } from "./case.ts";

const wants: readonly HeadWant[] = [
  { kind: "top", k: 1 },
  { kind: "top", k: 7 },
  { kind: "top", k: 100_000 },
  { kind: "above", margin: 0 },
  { kind: "above", margin: 2.5 },
  { kind: "winner", temperature: 0.7, seed: 42, choice: 0, index: 3 },
  { kind: "winner", temperature: 5, seed: 0xffffffff, choice: 2, index: 0 },
  { kind: "all" },
];

export function headCases(): ConformanceCase[] {
  return [
    headCase("f32", 1001, 100),
    headCase("f16", 1001, 96),
    headCase("bf16", 517, 33),
    headCase("q8_0", 300, 64),
    headCase("q4_0", 300, 64),
    headCase("q6_k", 300, 256),
    headCase("trits", 300, 384),
    headCase("q4_k", 300, 256),
    headCase("f16", 5, 3),
    headCase("f16", 3000, 256, 0),
    overflowCase(),
  ];
}

/** @param spread Size of the weights; 0 makes all logits alike. */
function headCase(type: DenseType, vocabSize: number, cols: number, spread = 1): ConformanceCase {
  const b = new CaseBuilder(800 + vocabSize + cols + spread);
  const x = b.f32("x", cols);
  let values: Float32Array | undefined;
  if (type === "f32" || type === "f16" || type === "bf16") {
    values = b.draw.floats(vocabSize * cols, spread);
    // Equal rows give equal logits: ranking must fall back on the id.
    values.copyWithin(cols, 0, cols);
    values.copyWithin((vocabSize - 1) * cols, 0, cols);
  }
  const weight = b.dense("norm", "f32", 1, cols);
  b.add({ op: "head", x, weight, eps: 1e-5, table: b.dense("table", type, vocabSize, cols, values) });
  const requests = wants.flatMap((want, i): Omit<HeadRequest, "row">[] => [
    { want },
    { want, logSumExp: true, apart: distinct(b, vocabSize, i + 1) },
    { want, allow: Uint32Array.from({ length: Math.ceil(vocabSize / 32) }, () => b.draw.bits()) },
    {
      want,
      allow: new Uint32Array(Math.ceil(vocabSize / 32)),
      apart: distinct(b, vocabSize, 3),
      logSumExp: true,
    },
  ]);
  const nRows = requests.length + 2;
  // The last two rows are asked nothing; the requests stand in reverse.
  const heads = requests.map((request, row) => ({ row, ...request })).reverse();
  const step = plainStep(nRows, { inputs: [{ buffer: x, values: b.draw.floats(nRows * cols) }], heads });
  return {
    name: `head ${type} ${vocabSize} × ${cols}${spread === 0 ? ", all alike" : ""}`,
    program: b.program("head", { vocabSize }),
    kvType: "f16",
    nPages: 1,
    maxRows: nRows,
    // A backend may answer the first step in another way than those that follow, and a single request in another than many.
    steps: [step, step, ...heads.slice(0, 12).map((head) => ({ ...step, heads: [head] }))],
    ...(vocabSize > 2000 ? { slow: true } : {}),
  };
}

function distinct(b: CaseBuilder, vocabSize: number, count: number): Int32Array {
  const ids = new Set<number>();
  while (ids.size < Math.min(count, vocabSize)) ids.add(b.draw.below(vocabSize));
  return Int32Array.from(ids);
}

/** Finite inputs whose logits overflow must fail, not rank infinities. */
function overflowCase(): ConformanceCase {
  const b = new CaseBuilder(899);
  const cols = 64;
  const vocabSize = 50;
  const x = b.f32("x", cols);
  const weight = b.dense("norm", "f32", 1, cols, new Float32Array(cols).fill(1e30));
  const table = b.dense("table", "f32", vocabSize, cols, new Float32Array(vocabSize * cols).fill(1e30));
  b.add({ op: "head", x, weight, eps: 1e-5, table });
  const step = plainStep(1, {
    inputs: [{ buffer: x, values: new Float32Array(cols).fill(1) }],
    heads: [{ row: 0, want: { kind: "top", k: 1 } }],
  });
  return {
    name: "head refuses overflow",
    program: b.program("overflow", { vocabSize }),
    kvType: "f16",
    nPages: 1,
    maxRows: 1,
    steps: [step],
    expectedError: "NUMERIC_FAILURE",
  };
}
