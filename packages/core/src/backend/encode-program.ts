/**
 * A Program and its Plan as typed arrays, for an engine in another language to decode (native/engine/program.cc): 32-bit words for kinds, ids
 * and sizes, f64 for offsets, scales and real attributes, and the arrays of row and group scales. Operations are laid down field by field in the order
 * of their table.
 */
import type { Scale } from "../packing/packing.ts";
import { type AnyOperation, fieldsOf, type OperationTable } from "./operation-table.ts";
import { operations } from "./operations.ts";
import { type Plan, planProgram } from "./plan.ts";
import { type BufferDecl, type Program, sourceSize } from "./program.ts";

export interface EncodedProgram {
  words: Int32Array;
  reals: Float64Array;
  scales: Float32Array[];
  /** Per source: the file's path, or null for bytes in memory. */
  paths: (string | null)[];
  /** Per source, bytes. */
  sizes: Float64Array;
}

const bufferKinds = { ternary: 0, dense: 1, kv: 2, f32: 3, q8: 4 } as const;
const scaleKinds = { tensor: 0, row: 1, group: 2 } as const;
const denseTypes = { f32: 0, f16: 1, bf16: 2, q8_0: 3, q6_k: 4, q4_0: 5, trits: 6, q4_k: 7 } as const;

const maxInt32 = 2 ** 31 - 1;

class Writer {
  readonly words: number[] = [];
  readonly reals: number[] = [];
  readonly scales: Float32Array[] = [];

  put(...words: readonly number[]): void {
    this.words.push(...words);
  }

  /** Kind, group size and the index of the values; the value itself goes to the reals. */
  putScale(scale: Scale): void {
    const isTensor = scale.kind === "tensor";
    this.put(
      scaleKinds[scale.kind],
      scale.kind === "group" ? scale.size : 0,
      isTensor ? -1 : this.scales.length,
    );
    this.reals.push(isTensor ? scale.value : 0);
    if (!isTensor) this.scales.push(scale.values);
  }
}

/**
 * Encodes a program that `validateProgram` accepts.
 * @param table For tests: the operations that there are, in the order of their numbers.
 */
export function encodeProgram(program: Program, table: OperationTable = operations): EncodedProgram {
  const writer = new Writer();
  const plan = planProgram(program, table);
  const numbers = new Map(Object.keys(table).map((name, i) => [name, i]));
  // Positions are 32-bit: a longer context could not be used.
  writer.put(Math.min(program.contextLength, maxInt32), program.vocabSize);
  writer.put(program.buffers.length, program.ops.length, plan.phases.length);
  program.buffers.forEach((buffer, id) => {
    putBuffer(writer, buffer, plan.lanes.has(id));
  });
  for (const op of program.ops) {
    writer.put(numbers.get(op.op) ?? -1);
    putFields(writer, table, op);
  }
  putPlan(writer, plan);
  return {
    words: Int32Array.from(writer.words),
    reals: Float64Array.from(writer.reals),
    scales: writer.scales,
    paths: program.sources.map((source) => (source.kind === "file" ? source.path : null)),
    sizes: Float64Array.from(program.sources, sourceSize),
  };
}

function putBuffer(writer: Writer, buffer: BufferDecl, hasLanes: boolean): void {
  if (buffer.class === "activation") {
    writer.put(bufferKinds[buffer.type], buffer.cols, Number(hasLanes));
    if (buffer.type === "q8") writer.put(buffer.groupSize ?? 0);
    return;
  }
  if (buffer.class === "kv") {
    writer.put(bufferKinds.kv, buffer.nKvHeads, buffer.headDim);
    return;
  }
  const { tensor } = buffer;
  writer.put(bufferKinds[tensor.kind]);
  if (tensor.kind === "dense") writer.put(denseTypes[tensor.type]);
  writer.put(tensor.source, tensor.rows, tensor.cols);
  writer.reals.push(tensor.offset);
  if (tensor.kind === "ternary") writer.putScale(tensor.scale);
}

/** Ids, integers and the number of a choice as words, a list behind its length, real attributes as reals. */
function putFields(writer: Writer, table: OperationTable, op: AnyOperation): void {
  for (const [, field, value] of fieldsOf(table, op)) {
    if (field.role !== "attribute") {
      if (field.list) writer.put((value as readonly number[]).length, ...(value as readonly number[]));
      else writer.put(value as number);
    } else if (field.type === "real") {
      writer.reals.push(value as number);
    } else {
      writer.put(field.type === "choice" ? field.of.indexOf(value as string) : (value as number));
    }
  }
}

/** The ends of the phases, then the number of joined operations and those. */
function putPlan(writer: Writer, { phases, joined }: Plan): void {
  writer.put(...phases.map(({ end }) => end));
  writer.put(joined.size, ...joined);
}
