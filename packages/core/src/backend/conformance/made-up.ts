/** A made-up operation in a copy of the table, with every kind of field that there is, and a program that has it. */

import type { OperationTable } from "../operation-table.ts";
import { type Op, operations } from "../operations.ts";
import type { Program } from "../program.ts";
import { CaseBuilder } from "./case.ts";

export const madeUpTable: OperationTable = {
  ...operations,
  mixture: {
    does: "x = the share of the experts that the router chooses",
    fields: {
      xq: { role: "reads", takes: "q8", cols: ["n"] },
      router: { role: "reads", takes: "dense", rows: ["nExperts"], cols: ["n"], types: ["f16", "bf16"] },
      experts: { role: "reads", takes: "ternary", list: true, rows: ["width"], cols: ["n"] },
      parts: { role: "writes", takes: "f32", list: true, cols: ["width"] },
      x: { role: "modifies", takes: "f32", cols: ["nParts", "nExperts"] },
      nExperts: { role: "attribute", type: "integer", least: 2, most: 64 },
      nGroups: { role: "attribute", type: "integer", least: 1, most: 64 },
      share: { role: "attribute", type: "real", least: 0, isOpen: true, below: 2 },
      fn: { role: "attribute", type: "choice", enumeration: "GateFn", of: ["relu2", "silu", "gelu"] },
    },
    distinct: [["x", "xq"]],
    multiples: [[["nExperts"], ["nGroups"]]],
    runs: "whole",
  },
};

/** The operation, made wrong by `change`, and the program around it. */
export function madeUpProgram(change: Readonly<Record<string, unknown>> = {}): Program {
  const b = new CaseBuilder(5);
  const xq = b.q8("xq", 256);
  const router = b.dense("router", "bf16", 4, 256);
  const experts = [b.ternary("e0", 8, 256, { kind: "tensor", value: 1 })];
  experts.push(b.ternary("e1", 16, 256, { kind: "tensor", value: 1 }));
  const parts = [b.f32("p0", 8), b.f32("p1", 16)];
  const x = b.f32("x", 12);
  b.dense("router32", "f32", 4, 256);
  const op = {
    op: "mixture",
    xq,
    router,
    experts,
    parts,
    x,
    nExperts: 4,
    nGroups: 2,
    share: 0.5,
    fn: "silu",
  };
  b.add({ ...op, ...change } as unknown as Op);
  return b.program("made-up", { vocabSize: 10 });
}
