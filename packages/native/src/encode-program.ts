/**
 * A Program as typed arrays, for engine/program.cc to decode: 32-bit words for kinds, ids and sizes, f64 for offsets, scales and
 * constants, and the arrays of row and group scales. Knows nothing of the addon's calls.
 */
import {
  accesses,
  type BufferDecl,
  type BufferId,
  type Op,
  type Program,
  type Scale,
  unreachable,
} from "@bitnet.ts/core";

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
const denseTypes = { f32: 0, f16: 1, bf16: 2, q8_0: 3, q6_k: 4, q4_0: 5 } as const;
const pairings = { half: 0, adjacent: 1 } as const;
const gateFns = { relu2: 0, silu: 1, gelu: 2 } as const;

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

/** Encodes a program that `validateProgram` accepts. */
export function encodeProgram(program: Program): EncodedProgram {
  const writer = new Writer();
  // Positions are 32-bit: a longer context could not be used.
  writer.put(Math.min(program.contextLength, maxInt32), program.vocabSize);
  writer.put(program.buffers.length, program.ops.length);
  for (const buffer of program.buffers) putBuffer(writer, buffer);
  const others = readElsewhere(program);
  program.ops.forEach((op, i) => void putOp(writer, op, feedsOnly(program, i, others)));
  return {
    words: Int32Array.from(writer.words),
    reals: Float64Array.from(writer.reals),
    scales: writer.scales,
    paths: program.sources.map((source) => (source.kind === "file" ? source.path : null)),
    sizes: Float64Array.from(program.sources, (source) =>
      source.kind === "file" ? source.size : source.bytes.byteLength,
    ),
  };
}

/** The results of a bitLinear that the operation after it may be computed from; of these, what it leaves as if it had come after; and where that goes. */
function joins(op: Op): { from: readonly BufferId[]; left?: BufferId; into?: BufferId } | undefined {
  switch (op.op) {
    case "gatedActivation":
      return { from: [op.gate, op.up], into: op.out };
    case "ropeKv":
      return { from: [op.q, op.k, op.v], left: op.q };
    case "residual":
      return { from: [op.y], into: op.x };
    default:
      return undefined;
  }
}

function isPair(op: Op | undefined, next: Op | undefined): boolean {
  const join = next && joins(next);
  if (op?.op !== "bitLinear" || !join) return false;
  const { from, into } = join;
  const isDistinct = new Set(from).size === from.length && (into === undefined || !from.includes(into));
  return isDistinct && op.outs.length === from.length && op.outs.every((id, i) => id === from[i]);
}

/**
 * Whether operation i is a bitLinear that the addon may compute together with the operation after it: no other operation reads what goes
 * between, of which no copy is kept.
 */
function feedsOnly({ ops }: Program, i: number, others: ReadonlySet<BufferId>): boolean {
  const [op, next] = [ops[i], ops[i + 1]];
  if (op?.op !== "bitLinear" || next === undefined || !isPair(op, next)) return false;
  const left = joins(next)?.left;
  return op.outs.every((id) => id === left || !others.has(id));
}

/** What operations read that are not computed together with the bitLinear before them. */
function readElsewhere({ ops }: Program): Set<BufferId> {
  const others = ops.filter((op, j) => !isPair(ops[j - 1], op));
  return new Set(others.flatMap((op) => accesses(op).reads));
}

function putBuffer(writer: Writer, buffer: BufferDecl): void {
  if (buffer.class === "activation") {
    writer.put(bufferKinds[buffer.type], buffer.cols);
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

function putOp(writer: Writer, op: Op, feedsNext: boolean): void {
  switch (op.op) {
    case "embed":
      writer.put(0, op.table, op.out);
      return;
    case "rmsNormQuant":
      writer.put(1, op.x, op.weight, op.out);
      writer.reals.push(op.eps);
      return;
    case "bitLinear":
      writer.put(2, op.x, Number(feedsNext), op.weights.length, ...op.weights, ...op.outs);
      return;
    case "ropeKv":
      writer.put(3, op.q, op.k, op.v, op.kv, op.table, op.nHeads, pairings[op.pairing]);
      return;
    case "attention":
      writer.put(4, op.q, op.kv, op.out, op.nHeads);
      writer.reals.push(op.scale);
      return;
    case "gatedActivation":
      writer.put(5, op.gate, op.up, op.out, gateFns[op.fn]);
      return;
    case "residual":
      writer.put(6, op.x, op.y);
      return;
    case "head":
      writer.put(7, op.x, op.weight, op.table);
      writer.reals.push(op.eps);
      return;
    default:
      unreachable(op, "encodeProgram");
  }
}
