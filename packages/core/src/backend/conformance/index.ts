/**
 * The conformance suite: every operation of the contract, with ragged rows, odd sizes and real ones, as data for any test
 * runner. A backend that passes gives the bits of the reference.
 */

import { expandProgram, fusedNames } from "../expand.ts";
import { attentionCases } from "./attention-cases.ts";
import type { ConformanceCase } from "./case.ts";
import { drawCases } from "./draw-cases.ts";
import { headCases } from "./head-cases.ts";
import { rowCases } from "./row-cases.ts";
import { stateCases } from "./state-cases.ts";

export type { ConformanceCase } from "./case.ts";
export { checkConformance } from "./compare.ts";
export { kernelVectors } from "./kernel-vectors.ts";
export { madeUpProgram, madeUpTable } from "./made-up.ts";
export { checkMass, type MassCase, massCases } from "./mass-cases.ts";
export { checkTolerance } from "./tolerance.ts";

/** All cases, in a fixed order. Every name is unique. */
export function conformanceCases(): ConformanceCase[] {
  const [rows, attention] = [rowCases(), attentionCases()];
  return [
    ...rows,
    ...attention,
    ...headCases(),
    ...drawCases(),
    ...stateCases(),
    ...[...rows, ...attention.slice(1, 4)].flatMap(expandedCase),
  ];
}

/** The same with the definitions of fused operations in their place. */
function expandedCase(testCase: ConformanceCase): ConformanceCase[] {
  const program = expandProgram(testCase.program, (name) => !fusedNames.includes(name));
  return program === testCase.program ? [] : [{ ...testCase, name: `expanded ${testCase.name}`, program }];
}
