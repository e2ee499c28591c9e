/**
 * How a program is carried out on several threads, as data that an engine follows and tests read: which operations are computed together,
 * where threads meet, and which activations may lie in lanes. Decided once for each program; nothing here changes a bit.
 */
import type { OperationTable } from "./operation-table.ts";
import { type Op, type OpOf, operations } from "./operations.ts";
import { accesses, type BufferId, type Program } from "./program.ts";

/** Operations [first, end): any number that run row by row, or one that needs all rows. All threads meet behind it. */
export interface Phase {
  first: number;
  end: number;
  runs: "rows" | "whole";
}

export interface Plan {
  phases: readonly Phase[];
  /**
   * Operations i that may be computed together with i + 1, piece by piece: the results between them are read nowhere else and need not be
   * kept. Steps that ask for them as outputs must compute them one after the other.
   */
  joined: ReadonlySet<number>;
  /**
   * Activations that a step of many rows may keep in lanes (f32: blocks of rows, element by element) or strips (q8), because everything that
   * touches them knows how. Steps with inputs or outputs keep all activations row by row.
   */
  lanes: ReadonlySet<BufferId>;
  /** The f32 and q8 activations that may not, each with the reason. */
  rowByRow: ReadonlyMap<BufferId, string>;
}

/**
 * @param program One that `validateProgram` accepts.
 * @param table For tests: the operations that there are.
 */
export function planProgram(program: Program, table: OperationTable = operations): Plan {
  const joined = findJoined(program, table);
  return { phases: findPhases(program.ops, table), joined, ...findLanes(program, table, joined) };
}

function findPhases(ops: readonly Op[], table: OperationTable): Phase[] {
  const phases: Phase[] = [];
  for (const [i, { op }] of ops.entries()) {
    const runs = table[op]?.runs ?? "whole";
    const last = phases.at(-1);
    if (runs === "rows" && last?.runs === "rows") last.end = i + 1;
    else phases.push({ first: i, end: i + 1, runs });
  }
  return phases;
}

/** What operation `op` takes from a bitLinear right before it, in the order of its outputs, and where the result goes. */
function takesFrom(op: Op | undefined): { from: readonly BufferId[]; into?: BufferId } | undefined {
  switch (op?.op) {
    case "gatedActivation":
      return { from: [op.gate, op.up], into: op.out };
    case "ropeKv":
      return { from: [op.q, op.k, op.v] };
    case "residual":
      return { from: [op.y], into: op.x };
    default:
      return undefined;
  }
}

function isPair(op: Op | undefined, next: Op | undefined): op is OpOf<"bitLinear"> {
  const taken = takesFrom(next);
  if (op?.op !== "bitLinear" || !taken) return false;
  const { from, into } = taken;
  const writesOver = into !== undefined && from.includes(into);
  return !writesOver && op.outs.length === from.length && op.outs.every((id, i) => id === from[i]);
}

function findJoined({ ops }: Program, table: OperationTable): Set<number> {
  // What is read by any other operation than the one that it is computed together with.
  const others = ops.filter((op, i) => !isPair(ops[i - 1], op));
  const readElsewhere = new Set(others.flatMap((op) => accesses(op, table).reads));
  const joined = new Set<number>();
  for (const [i, op] of ops.entries()) {
    const next = ops[i + 1];
    if (!isPair(op, next)) continue;
    // Queries are rotated on their way to where they belong, so that whoever reads them finds them as the rotation leaves them.
    const kept = next?.op === "ropeKv" ? next.q : undefined;
    if (op.outs.every((id) => id === kept || !readElsewhere.has(id))) joined.add(i);
  }
  return joined;
}

/** Operations that read or write an activation in lanes under `field`, given that what stands beside it is in lanes where it must be. */
const knowLanes: Readonly<Record<string, readonly string[]>> = {
  embed: ["out"],
  rmsNormQuant: ["x", "out"],
  bitLinear: ["x"],
  gatedActivation: ["out"],
  residual: ["x"],
  head: ["x"],
};

function findLanes(
  program: Program,
  table: OperationTable,
  joined: ReadonlySet<number>,
): Pick<Plan, "lanes" | "rowByRow"> {
  const rowByRow = new Map<BufferId, string>();
  const lanes = new Set<BufferId>();
  for (const [id, buffer] of program.buffers.entries()) if (buffer.class === "activation") lanes.add(id);
  const ruleOut = (id: BufferId, why: string): boolean => {
    if (!lanes.delete(id)) return false;
    rowByRow.set(id, why);
    return true;
  };
  for (const id of [...lanes]) if (isGrouped(program, id)) ruleOut(id, "it is quantised group by group");
  for (const [i, op] of program.ops.entries()) {
    const known = knowLanes[op.op] ?? [];
    const { reads, writes } = accesses(op, table);
    const able = new Set(known.flatMap((field) => Reflect.get(op, field) as BufferId));
    for (const id of [...reads, ...writes])
      if (!able.has(id)) ruleOut(id, `${op.op} (operation ${i}) handles it row by row`);
    if (op.op === "bitLinear" && op.weights.some((id) => scaleOf(program, id) === "group"))
      ruleOut(op.x, `bitLinear (operation ${i}) multiplies it group by group`);
    // Results that are handed on as tiles leave them can be laid down in lanes; others pass through memory row by row.
    const into = takesFrom(op)?.into;
    if (into !== undefined && !isHandedOn(program, joined, i - 1))
      ruleOut(into, `${op.op} (operation ${i}) is not computed together with the product before it`);
  }
  // A norm makes strips of lanes or rows of rows.
  for (let changed = true; changed; ) {
    changed = false;
    for (const [i, op] of program.ops.entries()) {
      if (op.op !== "rmsNormQuant") continue;
      const why = `rmsNormQuant (operation ${i}) has the other of its two row by row`;
      if (!lanes.has(op.x)) changed = ruleOut(op.out, why) || changed;
      if (!lanes.has(op.out)) changed = ruleOut(op.x, why) || changed;
    }
  }
  return { lanes, rowByRow };
}

/** Whether a product is joined to the operation after it and has one scale a matrix, as tiles apply it. */
function isHandedOn(program: Program, joined: ReadonlySet<number>, i: number): boolean {
  const op = program.ops[i];
  if (op?.op !== "bitLinear" || !joined.has(i) || isGrouped(program, op.x)) return false;
  return op.weights.every((id) => scaleOf(program, id) === "tensor");
}

function isGrouped({ buffers }: Program, id: BufferId): boolean {
  const buffer = buffers[id];
  return buffer?.class === "activation" && buffer.type === "q8" && buffer.groupSize !== undefined;
}

function scaleOf({ buffers }: Program, id: BufferId): string | undefined {
  const buffer = buffers[id];
  return buffer?.class === "weight" && buffer.tensor.kind === "ternary"
    ? buffer.tensor.scale.kind
    : undefined;
}
