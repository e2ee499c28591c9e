/**
 * Conformance of head requests for a share of the mass. Backends may list more or fewer candidates than the reference; what they say has
 * to be true of the logits that the same rows give in full.
 */
import type { Backend } from "../backend.ts";
import type { HeadRequest, HeadResult, HeadWant, Step } from "../step.ts";
import { CaseBuilder, type ConformanceCase, plainStep } from "./case.ts";

export type MassCase = Omit<ConformanceCase, "expectedError">;

type MassWant = Extract<HeadWant, { kind: "mass" }>;

/** Steps that ask for shares; to be run more than once, since a backend may answer the first ones in another way. */
export function massCases(): MassCase[] {
  return [
    massCase(700, 64, 1),
    massCase(3000, 96, 6),
    massCase(1111, 70, 30),
    massCase(500, 33, 0),
    massCase(7, 5, 3),
  ];
}

/** @param spread Size of the logits; 0 makes all of them alike. */
function massCase(vocabSize: number, cols: number, spread: number): MassCase {
  const b = new CaseBuilder(1800 + vocabSize);
  const x = b.f32("x", cols);
  const weight = b.dense("norm", "f32", 1, cols, new Float32Array(cols).fill(spread / Math.sqrt(cols / 3)));
  const values = b.draw.floats(vocabSize * cols);
  // Equal rows share a rank.
  values.copyWithin(cols, 0, cols);
  b.add({ op: "head", x, weight, eps: 1e-5, table: b.dense("table", "f16", vocabSize, cols, values) });
  const wants: MassWant[] = [
    { kind: "mass", temperature: 0.7, share: 0.95 },
    { kind: "mass", temperature: 1, share: 0.5 },
    { kind: "mass", temperature: 5, share: 0.9 },
    { kind: "mass", temperature: 0.01, share: 0.999 },
    { kind: "mass", temperature: 1e-30, share: 1e-60 },
    { kind: "mass", temperature: 1e30, share: 1 },
  ];
  const words = Math.ceil(vocabSize / 32);
  const requests = wants.flatMap((want): Omit<HeadRequest, "row">[] => [
    { want },
    { want, apart: distinct(b, vocabSize, 20) },
    {
      want,
      allow: Uint32Array.from({ length: words }, () => b.draw.bits()),
      apart: distinct(b, vocabSize, 3),
    },
    { want, allow: new Uint32Array(words), apart: distinct(b, vocabSize, 2), logSumExp: true },
  ]);
  const nRows = requests.length;
  const step = plainStep(nRows, {
    inputs: [{ buffer: x, values: b.draw.floats(nRows * cols) }],
    heads: requests.map((request, row) => ({ row, ...request })),
  });
  return {
    name: `mass of ${vocabSize} logits of size ${spread}`,
    program: b.program("mass", { vocabSize }),
    kvType: "f16",
    nPages: 1,
    maxRows: nRows,
    // The first one answered is greedy, so that a backend may prepare what it needs.
    steps: [
      { ...step, heads: [{ row: 0, want: { kind: "top", k: 1 } }] },
      step,
      step,
      { ...step, heads: step.heads.slice(0, 1) },
    ],
  };
}

function distinct(b: CaseBuilder, vocabSize: number, count: number): Int32Array {
  const ids = new Set<number>();
  while (ids.size < Math.min(count, vocabSize)) ids.add(b.draw.below(vocabSize));
  return Int32Array.from(ids);
}

/** Returns null when what `backend` answers is true of its own logits, else what is not. */
export async function checkMass(testCase: MassCase, backend: Backend): Promise<string | null> {
  const { program, kvType, nPages, maxRows, steps } = testCase;
  const executable = await backend.load(program, { kvType, nPages, maxRows });
  try {
    for (const [index, step] of steps.entries()) {
      const { heads } = await executable.run(step);
      const logits = await allLogits(step, (each) => executable.run(each));
      for (const [i, request] of step.heads.entries()) {
        const { want } = request;
        const result = heads[i];
        const all = logits[i];
        if (want.kind !== "mass" || result === undefined || all === undefined) continue;
        const wrong = whatIsWrong(request, want, result, all);
        if (wrong) return `step ${index}, row ${request.row}: ${wrong}`;
      }
    }
    return null;
  } finally {
    await executable.dispose();
  }
}

async function allLogits(step: Step, run: (step: Step) => Promise<{ heads: readonly HeadResult[] }>) {
  const heads = step.heads.map(({ row }) => ({ row, want: { kind: "all" } as const }));
  const result = await run({ ...step, heads });
  return result.heads.map(({ logits }) => logits);
}

function whatIsWrong(
  { apart = new Int32Array(), allow }: HeadRequest,
  { temperature }: MassWant,
  { ids, logits, apartLogits, rest }: HeadResult,
  all: Float32Array,
): string | null {
  const isApart = new Set(apart);
  const isAllowed = (id: number) => !allow || (((allow[id >> 5] ?? 0) >>> (id & 31)) & 1) === 1;
  const ranking = [...all.keys()].filter((id) => isAllowed(id) && !isApart.has(id));
  ranking.sort((a, b) => (all[b] ?? 0) - (all[a] ?? 0) || a - b);
  if (rest === undefined) return "there is no bracket";
  if (ids.length === 0 && ranking.length > 0) return "nothing is listed";
  if (ids.length !== logits.length) return `${ids.length} ids and ${logits.length} logits`;
  for (const [i, id] of ids.entries()) {
    if (id !== ranking[i]) return `candidate ${i} is ${id}, expected ${ranking[i]}`;
    if (!Object.is(logits[i], all[id])) return `the logit of ${id} is ${logits[i]}, expected ${all[id]}`;
  }
  for (const [i, id] of apart.entries())
    if (!Object.is(apartLogits[i], all[id]))
      return `the logit of ${id} apart is ${apartLogits[i]}, expected ${all[id]}`;
  const highest = all[ranking[0] ?? 0] ?? 0;
  const weight = ranking
    .slice(ids.length)
    .reduce((sum, id) => sum + Math.exp(((all[id] ?? 0) - highest) / Math.fround(temperature)), 0);
  const isTrue = rest.low <= weight * (1 + 1e-9) && weight * (1 - 1e-9) <= rest.high;
  return isTrue ? null : `the rest weighs ${weight}, which is not in ${rest.low}…${rest.high}`;
}
