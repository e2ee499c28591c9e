/**
 * A Program and its Plan as words of 32 bits, for an engine in another language to decode (native/engine/program.cc), beside the arrays of
 * row and group scales: counts, sources and buffers as records, then the operations field by field in the order of their table, then the plan.
 */
import { engineRecords } from "./engine/engine-records.ts";
import { type RecordValues, recordWords } from "./engine/word-record.ts";
import { type AnyOperation, fieldsOf, type OperationTable } from "./operation-table.ts";
import { operations } from "./operations.ts";
import { planProgram } from "./plan.ts";
import { type BufferDecl, type Program, sourceSize, type TernaryTensor } from "./program.ts";

export interface EncodedProgram {
  words: Int32Array;
  /** Of the ternary weights that have scales by row or group, in their order. */
  scales: Float32Array[];
  /** Per source: the file's path, or null for bytes in memory. */
  paths: (string | null)[];
}

const { programCounts, programSource, programBuffer } = engineRecords;

const maxInt32 = 2 ** 31 - 1;

/**
 * Encodes a program that `validateProgram` accepts.
 * @param table For tests: the operations that there are, in the order of their numbers.
 */
export function encodeProgram(program: Program, table: OperationTable = operations): EncodedProgram {
  const words: number[] = [];
  const scales: Float32Array[] = [];
  const { phases, joined, lanes } = planProgram(program, table);
  const numbers = new Map(Object.keys(table).map((name, i) => [name, i]));
  const counts = {
    // Positions are 32-bit: a longer context could not be used.
    contextLength: Math.min(program.contextLength, maxInt32),
    vocabSize: program.vocabSize,
    nSources: program.sources.length,
    nBuffers: program.buffers.length,
    nOperations: program.ops.length,
    nPhases: phases.length,
    nJoined: joined.size,
  };
  words.push(...recordWords(programCounts, counts));
  for (const source of program.sources) {
    words.push(...recordWords(programSource, { size: sourceSize(source) }));
  }
  for (const [id, buffer] of program.buffers.entries()) {
    words.push(...recordWords(programBuffer, bufferValues(buffer, lanes.has(id), scales)));
  }
  for (const op of program.ops) {
    words.push(numbers.get(op.op) ?? -1);
    putFields(words, table, op);
  }
  words.push(...phases.map(({ end }) => end), ...joined);
  return {
    words: Int32Array.from(words),
    scales,
    paths: program.sources.map((source) => (source.kind === "file" ? source.path : null)),
  };
}

type BufferValues = RecordValues<typeof programBuffer>;

const noBuffer: BufferValues = {
  kind: "f32",
  source: 0,
  offset: 0,
  rows: 0,
  cols: 0,
  type: "f32",
  scaleKind: "tensor",
  groupSize: 0,
  scale: 0,
  scales: 0,
  nKvHeads: 0,
  headDim: 0,
  suitsLanes: false,
};

/** Adds the values of a scale that has several to `scales`. */
function bufferValues(buffer: BufferDecl, suitsLanes: boolean, scales: Float32Array[]): BufferValues {
  switch (buffer.class) {
    case "activation": {
      const groupSize = buffer.type === "q8" ? (buffer.groupSize ?? 0) : 0;
      return { ...noBuffer, kind: buffer.type, cols: buffer.cols, groupSize, suitsLanes };
    }
    case "kv":
      return { ...noBuffer, kind: "kv", nKvHeads: buffer.nKvHeads, headDim: buffer.headDim };
    case "weight": {
      const { tensor } = buffer;
      const { kind, source, offset, rows, cols } = tensor;
      const own = tensor.kind === "dense" ? { type: tensor.type } : scaleValues(tensor, scales);
      return { ...noBuffer, kind, source, offset, rows, cols, ...own };
    }
  }
}

function scaleValues({ scale }: TernaryTensor, scales: Float32Array[]): Partial<BufferValues> {
  if (scale.kind === "tensor") return { scaleKind: "tensor", scale: scale.value };
  const groupSize = scale.kind === "group" ? scale.size : 0;
  return { scaleKind: scale.kind, groupSize, scales: scales.push(scale.values) - 1 };
}

/** Ids, integers and the number of a choice as they are, a list behind its length, a real attribute as the bits of its f32. */
function putFields(words: number[], table: OperationTable, op: AnyOperation): void {
  for (const [, field, value] of fieldsOf(table, op)) {
    if (field.role !== "attribute") {
      if (field.list) words.push((value as readonly number[]).length, ...(value as readonly number[]));
      else words.push(value as number);
    } else if (field.type === "real") {
      words.push(...new Int32Array(Float32Array.of(value as number).buffer));
    } else {
      words.push(field.type === "choice" ? field.of.indexOf(value as string) : (value as number));
    }
  }
}
