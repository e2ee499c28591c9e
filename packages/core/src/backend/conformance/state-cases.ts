/** Conformance of head requests for the state itself: alone, in many panels, mixed with requests for logits, out of lanes, and not finite. */
import type { HeadRequest } from "../step.ts";
import { CaseBuilder, type ConformanceCase, plainStep } from "./case.ts";

export function stateCases(): ConformanceCase[] {
  return [stateCase(100, 33, 7), stateCase(500, 96, 70), embeddedCase(), infiniteCase()];
}

function stateCase(vocabSize: number, cols: number, nRows: number): ConformanceCase {
  const b = new CaseBuilder(2800 + cols);
  const x = b.f32("x", cols);
  const weight = b.dense("norm", "f32", 1, cols);
  b.add({ op: "head", x, weight, eps: 1e-5, table: b.dense("table", "f16", vocabSize, cols) });
  const inputs = [{ buffer: x, values: b.draw.floats(nRows * cols) }];
  const rows = Array.from({ length: nRows }, (_, row) => row);
  const state = (row: number): HeadRequest => ({ row, want: { kind: "state" } });
  const mixed = rows.map(
    (row): HeadRequest =>
      row % 3 === 1 ? { row, want: { kind: "top", k: 3 }, logSumExp: true } : state(row),
  );
  return {
    name: `states of ${nRows} rows of ${cols}`,
    program: b.program("state", { vocabSize }),
    kvType: "f16",
    nPages: 1,
    maxRows: nRows,
    wants: ["state"],
    steps: [
      plainStep(nRows, { inputs, heads: rows.map(state) }),
      plainStep(nRows, { inputs, heads: mixed.reverse() }),
      // The first requests, which are answered together, are of states only.
      plainStep(nRows, {
        inputs,
        heads: [...rows.slice(0, -1).map(state), { row: nRows - 1, want: { kind: "all" } }],
      }),
      plainStep(nRows, { inputs, heads: [state(nRows - 1)] }),
    ],
  };
}

/** Without inputs, so that a backend may keep the rows in whatever order it likes. */
function embeddedCase(): ConformanceCase {
  const b = new CaseBuilder(2900);
  const [vocabSize, cols, nRows] = [200, 96, 50];
  const x = b.f32("x", cols);
  const table = b.dense("table", "f16", vocabSize, cols);
  b.add({ op: "embed", table, out: x });
  b.add({ op: "head", x, weight: b.dense("norm", "f32", 1, cols), eps: 1e-6, table });
  const rows = Array.from({ length: nRows }, (_, row) => row);
  const tokens = Int32Array.from(rows, () => b.draw.below(vocabSize));
  const heads = rows.map((row): HeadRequest => ({ row, want: { kind: "state" } }));
  return {
    name: "states of embedded rows",
    program: b.program("embedded", { vocabSize }),
    kvType: "f16",
    nPages: 1,
    maxRows: nRows,
    wants: ["state"],
    steps: [{ ...plainStep(nRows, { heads }), tokens }],
  };
}

function infiniteCase(): ConformanceCase {
  const b = new CaseBuilder(2950);
  const [cols, nRows] = [20, 4];
  const x = b.f32("x", cols);
  const weight = b.dense("norm", "f32", 1, cols);
  b.add({ op: "head", x, weight, eps: 1e-5, table: b.dense("table", "f32", 50, cols) });
  const values = b.draw.floats(nRows * cols);
  values[2 * cols + 3] = Number.NaN;
  const heads = [3, 2, 1].map((row): HeadRequest => ({ row, want: { kind: "state" } }));
  return {
    name: "states refuse what is not finite",
    program: b.program("infinite", { vocabSize: 50 }),
    kvType: "f16",
    nPages: 1,
    maxRows: nRows,
    wants: ["state"],
    steps: [plainStep(nRows, { inputs: [{ buffer: x, values }], heads })],
    expectedError: "NUMERIC_FAILURE",
  };
}
