/**
 * Conformance of backends that cannot promise fusing: every operation on its own. The reference runs a case and behind each operation what the backend
 * has computed is compared with what the reference computes from the very inputs that the backend had; then the reference goes on with the backend's
 * values, so that errors do not add up and the bounds (bounds.ts) stay narrow. Quantised values differ only where the last digits decide; products of integers are equal.
 */
import { BitNetError } from "../../base/errors.ts";
import type { Backend } from "../backend.ts";
import { expandProgram } from "../expand.ts";
import { accesses, type BufferId, type Op, type Program } from "../program.ts";
import { answerHead } from "../reference/head.ts";
import { createReferenceBackend, type StepView } from "../reference/reference-backend.ts";
import { rmsNorm } from "../reference/rows.ts";
import type { BufferOutput, HeadRequest, HeadResult, Step, StepResult } from "../step.ts";
import { boundOf, divisionBound, flushed, type KvReach, logitBounds, longest, normBound } from "./bounds.ts";
import type { ConformanceCase } from "./case.ts";
import { describeDifference } from "./compare.ts";

/** A step's result and all logits of the rows that heads were asked for. */
interface Found {
  result: StepResult;
  all: readonly HeadResult[];
}

/** Returns null when `backend` stays within the bounds of every operation, else a description of the first excess. */
export async function checkTolerance(testCase: ConformanceCase, backend: Backend): Promise<string | null> {
  const { program, kvType, nPages, maxRows, expectedError } = testCase;
  const steps = testCase.steps.map((step) => ({ ...step, outputs: activationsOf(program) }));
  const executable = await backend.load(program, { kvType, nPages, maxRows });
  const { wants } = executable;
  if (!(testCase.wants ?? []).every((want) => wants.includes(want))) {
    await executable.dispose();
    return null;
  }
  // Rotations before they are written to the cache.
  const judge = new Judge(expandProgram(program, (name) => name !== "ropeKv"));
  const reference = await createReferenceBackend({ observe: judge.observe }).load(judge.program, {
    ...{ kvType, nPages, maxRows },
  });
  try {
    for (const [i, step] of steps.entries()) {
      const offered = { ...step, heads: step.heads.filter(({ want }) => wants.includes(want.kind)) };
      const isLast = i === steps.length - 1;
      try {
        judge.begin(offered, await runFully(offered, (each) => executable.run(each)));
      } catch (error) {
        if (!(error instanceof BitNetError)) throw error;
        const wanted = isLast ? await failureOf(reference.run(offered)) : null;
        if (error.code === expectedError && wanted?.details.row === error.details.row) return null;
        return `step ${i}: ended with ${error.code} (${error.message}), expected ${wanted?.code ?? "success"}`;
      }
      if (isLast && expectedError !== undefined) return `step ${i}: succeeded, expected ${expectedError}`;
      const all = step.heads.filter(({ want }) => want.kind !== "state");
      const heads = all.map(({ row }) => ({ row, want: { kind: "all" } as const }));
      await reference.run({ ...offered, heads, outputs: [] });
      if (judge.excess !== null) return `step ${i}: ${judge.excess}`;
    }
    return null;
  } finally {
    await Promise.all([executable.dispose(), reference.dispose()]);
  }
}

async function runFully(step: Step, run: (step: Step) => Promise<StepResult>): Promise<Found> {
  const result = await run(step);
  const asked = step.heads.filter(({ want }) => want.kind !== "state");
  if (asked.length === 0) return { result, all: [] };
  const heads = asked.map(({ row }) => ({ row, want: { kind: "all" } as const }));
  return { result, all: (await run({ ...step, heads, outputs: [], pageCopies: new Int32Array() })).heads };
}

async function failureOf(work: Promise<unknown>): Promise<BitNetError | null> {
  try {
    await work;
    return null;
  } catch (error) {
    if (error instanceof BitNetError) return error;
    throw error;
  }
}

function activationsOf({ buffers }: Program): BufferId[] {
  return [...buffers.entries()].flatMap(([id, buffer]) => (buffer.class === "activation" ? [id] : []));
}

class Judge {
  readonly program: Program;
  excess: string | null = null;
  readonly #reach: KvReach = { key: 0, value: 0, nKeys: 0 };
  /** The last operation that writes each buffer. */
  readonly #lastWriter = new Map<BufferId, Op>();
  readonly #open = new Map<BufferId, Float64Array>();
  #step: Step | undefined;
  #found: Found | undefined;

  constructor(program: Program) {
    this.program = program;
    for (const op of program.ops) for (const id of accesses(op).writes) this.#lastWriter.set(id, op);
  }

  begin(step: Step, found: Found): void {
    this.#step = step;
    this.#found = found;
  }

  readonly observe = (op: Op, view: StepView): void => {
    if (this.excess !== null || this.#step === undefined || this.#found === undefined) return;
    if (op.op === "head") {
      this.excess = this.#judgeHeads(op, view, this.#step, this.#found);
      return;
    }
    if (op.op === "writeKv") this.#noteKeys(op, view, this.#step);
    for (const id of accesses(op).writes) {
      if (this.#lastWriter.get(id) !== op) {
        this.#leaveOpen(op, id, view);
        continue;
      }
      const output = this.#found.result.outputs.find(({ buffer }) => buffer === id);
      if (output !== undefined) this.excess ??= this.#judge(op, id, view, output);
    }
  };

  /** Compares what an operation has written, and puts what was found in its place. */
  #judge(op: Op, id: BufferId, view: StepView, { values, quantised }: BufferOutput): string | null {
    const where = `${op.op} → ${this.program.buffers[id]?.name}`;
    if (quantised !== undefined) return judgeQuantised(op, id, view, quantised, where);
    if (values === undefined) return `${where}: nothing was found`;
    const computed = view.f32(id);
    const bound = this.#boundOf(op, id, view);
    const excess = outside(computed, values, where, bound);
    computed.set(values);
    return excess;
  }

  /** What one operation adds to and another after it was never seen between them: the bounds add up. */
  #leaveOpen(op: Op, id: BufferId, view: StepView): void {
    const bound = this.#boundOf(op, id, view);
    this.#open.set(
      id,
      Float64Array.from(view.f32(id), (_, i) => bound(i)),
    );
  }

  #boundOf(op: Op, id: BufferId, view: StepView): (i: number) => number {
    const computed = view.f32(id);
    const facts = { program: this.program, most: this.#most(op, view), reach: this.#reach };
    const { relative, absolute } = boundOf(op, id, view, facts);
    const open = this.#open.get(id);
    this.#open.delete(id);
    return (i) => relative * Math.abs(computed[i] ?? 0) + absolute(i) + (open?.[i] ?? 0);
  }

  /** Of all f32 operands as they are now, and as the step set them. */
  #most(op: Op, view: StepView): number {
    const { reads, writes } = accesses(op);
    const ids = new Set([...reads, ...writes]);
    const isFloats = (id: BufferId) => {
      const buffer = this.program.buffers[id];
      return buffer?.class === "activation" && buffer.type === "f32";
    };
    const arrays = [...ids].filter(isFloats).map((id) => view.f32(id));
    for (const { buffer, values } of this.#step?.inputs ?? []) if (ids.has(buffer)) arrays.push(values);
    return arrays.reduce((most, values) => Math.max(most, largest(values)), 0);
  }

  #noteKeys({ k, v, kv }: Extract<Op, { op: "writeKv" }>, view: StepView, { positions }: Step): void {
    const buffer = this.program.buffers[kv];
    if (buffer?.class !== "kv") return;
    const reach = this.#reach;
    reach.key = Math.max(reach.key, longest(view.f32(k), buffer.headDim));
    reach.value = Math.max(reach.value, largest(view.f32(v)));
    reach.nKeys = positions.reduce((most, position) => Math.max(most, position + 1), reach.nKeys);
  }

  #judgeHeads(
    op: Extract<Op, { op: "head" }>,
    view: StepView,
    { heads }: Step,
    { result, all }: Found,
  ): string | null {
    const [table, weight, rows] = [view.matrix(op.table), view.matrix(op.weight).values, view.f32(op.x)];
    const logitsOf = new Map(all.map(({ row, logits }) => [row, logits]));
    for (const [i, request] of heads.entries()) {
      const { row } = request;
      const found = result.heads[i];
      if (found === undefined) return `head: no answer for row ${row}`;
      const state = new Float32Array(weight.length);
      rmsNorm(rows.subarray(row * weight.length, (row + 1) * weight.length), weight, op.eps, state);
      const wrong =
        request.want.kind === "state"
          ? outside(
              state,
              found.state ?? new Float32Array(),
              `state of row ${row}`,
              (j) => normBound(state.length) * Math.abs(state[j] ?? 0) + flushed,
            )
          : this.#judgeAnswer(request, found, logitsOf.get(row), table, state);
      if (wrong !== null) return wrong;
    }
    return null;
  }

  /** The logits by their bounds, and the answer by what follows from the very logits that the backend has. */
  #judgeAnswer(
    request: HeadRequest,
    found: HeadResult,
    logits: Float32Array | undefined,
    table: { values: Float32Array; rows: number; cols: number },
    state: Float32Array,
  ): string | null {
    if (logits === undefined) return `head: row ${request.row} has no logits`;
    const bounds = logitBounds(table, state);
    const exact = Float32Array.from({ length: table.rows }, (_, id) => {
      let sum = 0;
      for (let k = 0; k < table.cols; k++) sum += (table.values[id * table.cols + k] ?? 0) * (state[k] ?? 0);
      return sum;
    });
    return (
      outside(exact, logits, `logits of row ${request.row}`, (id) => bounds[id] ?? 0) ??
      describeDifference(answerHead(request, logits), found, `answer for row ${request.row}`)
    );
  }
}

function judgeQuantised(
  op: Op,
  id: BufferId,
  view: StepView,
  { values, scales }: { values: Int8Array; scales: Float32Array },
  where: string,
): string | null {
  const computed = view.q8(id);
  if (op.op !== "quantise" && op.op !== "rmsNormQuant") return `${where}: not by a quantiser`;
  if (computed.values.length !== values.length) return `${where}: ${values.length} values`;
  const cols = values.length / view.nRows;
  const input = inputOf(op, view, cols);
  const relative = divisionBound + (op.op === "rmsNormQuant" ? 2 * normBound(cols) : 0);
  const wrong = outside(
    computed.scales,
    scales,
    `scales of ${where}`,
    (i) => relative * (computed.scales[i] ?? 0),
  );
  if (wrong !== null) return wrong;
  const perRow = scales.length / view.nRows;
  for (const [i, q] of values.entries()) {
    const expected = computed.values[i] ?? 0;
    if (q === expected) continue;
    const [row, col] = [Math.floor(i / cols), i % cols];
    const exact = (input[i] ?? 0) * (computed.scales[row * perRow + (perRow === 1 ? 0 : col >> 7)] ?? 0);
    // Neighbours between which the value stands in the middle, as far as can be told.
    const isTie = Math.abs(q - expected) === 1 && Math.abs(exact - (q + expected) / 2) <= 128 * relative;
    if (!isTie) return `${where}[${i}]: expected ${expected} (of ${exact}), found ${q}`;
  }
  computed.values.set(values);
  computed.scales.set(scales);
  return null;
}

/** What is quantised. */
function inputOf(
  op: Extract<Op, { op: "quantise" | "rmsNormQuant" }>,
  view: StepView,
  cols: number,
): Float32Array {
  const x = view.f32(op.x);
  if (op.op === "quantise") return x;
  const weight = view.matrix(op.weight).values;
  const normed = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += cols)
    rmsNorm(x.subarray(at, at + cols), weight, op.eps, normed.subarray(at, at + cols));
  return normed;
}

function outside(
  expected: Float32Array,
  found: Float32Array,
  where: string,
  bound: (i: number) => number,
): string | null {
  if (found.length !== expected.length)
    return `${where}: ${found.length} elements, expected ${expected.length}`;
  for (const [i, value] of found.entries()) {
    const wanted = expected[i] ?? 0;
    if (Object.is(value, wanted) || Math.abs(value - wanted) <= bound(i)) continue;
    return `${where}[${i}]: expected ${wanted} ± ${bound(i)}, found ${value}`;
  }
  return null;
}

function largest(values: Float32Array): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}
