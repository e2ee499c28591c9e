/**
 * Checks Programs once, at the border, so that backends may trust every index, shape and attribute in them. What an operation wants is
 * read from its table.
 */
import { BitNetError } from "../base/errors.ts";
import { denseByteLength } from "../packing/dense.ts";
import type { Scale } from "../packing/packing.ts";
import {
  type AnyOperation,
  fieldsOf,
  type OperandField,
  type OperationTable,
  type RealField,
  rangeText,
  type Size,
} from "./operation-table.ts";
import { operations } from "./operations.ts";
import { type BufferDecl, type BufferId, type Program, sourceSize } from "./program.ts";

/** Widest input of a ternary matrix: code 3 × −128 over so many columns still fits int32 with room for the row sum. */
const maxTernaryCols = 2 ** 22;
const maxElements = 2 ** 40;

function invalidProgram(program: Program, message: string): BitNetError {
  return new BitNetError("MODEL_INVALID", `program "${program.name}": ${message}`);
}

/**
 * @param table For tests: the operations that there are.
 * @throws BitNetError MODEL_INVALID naming the buffer or operation.
 */
export function validateProgram(program: Program, table: OperationTable = operations): void {
  const fail = (message: string): never => {
    throw invalidProgram(program, message);
  };
  if (!Number.isSafeInteger(program.contextLength) || program.contextLength < 1)
    fail(`contextLength ${program.contextLength} must be a positive integer`);
  if (!Number.isSafeInteger(program.vocabSize) || program.vocabSize < 0 || program.vocabSize > 2 ** 31 - 1)
    fail(`vocabSize ${program.vocabSize} is out of range`);
  program.buffers.forEach((buffer) => {
    validateBuffer(program, buffer);
  });
  program.ops.forEach((op, index) => {
    new OperationCheck(program, op, `operation ${index} (${op.op})`).check(table);
  });
}

function validateBuffer(program: Program, buffer: BufferDecl): void {
  const fail = (message: string): never => {
    throw invalidProgram(program, `buffer "${buffer.name}": ${message}`);
  };
  const positive = (value: number, what: string, limit = 2 ** 31 - 1) => {
    if (!Number.isSafeInteger(value) || value < 1 || value > limit) fail(`${what} ${value} is out of range`);
  };
  if (buffer.class === "activation") {
    positive(buffer.cols, "cols");
    if (buffer.type === "q8" && ![undefined, 128].includes(buffer.groupSize))
      fail(`groupSize ${buffer.groupSize} must be 128`);
    return;
  }
  if (buffer.class === "kv") {
    positive(buffer.nKvHeads, "nKvHeads", 65536);
    positive(buffer.headDim, "headDim", 65536);
    if (buffer.headDim % 2 !== 0) fail(`headDim ${buffer.headDim} must be even`);
    return;
  }
  const { tensor } = buffer;
  positive(tensor.rows, "rows");
  positive(tensor.cols, "cols", tensor.kind === "ternary" ? maxTernaryCols : 2 ** 31 - 1);
  if (tensor.rows * tensor.cols > maxElements) fail(`${tensor.rows} × ${tensor.cols} elements are too many`);
  const source = program.sources[tensor.source] ?? fail(`source ${tensor.source} does not exist`);
  const size = sourceSize(source);
  const needed =
    tensor.kind === "ternary"
      ? tensor.rows * Math.ceil(tensor.cols / 128) * 32
      : denseByteLength(tensor.type, tensor.rows * tensor.cols);
  if (!Number.isSafeInteger(tensor.offset) || tensor.offset < 0 || tensor.offset + needed > size)
    fail(`bytes ${tensor.offset}…${tensor.offset + needed} leave a source of ${size} bytes`);
  if (tensor.kind === "ternary") validateScale(tensor, fail);
}

function validateScale(
  { scale, rows, cols }: { scale: Scale; rows: number; cols: number },
  fail: (message: string) => never,
): void {
  if (scale.kind === "tensor") {
    if (!Number.isFinite(scale.value)) fail(`scale ${scale.value} is not finite`);
    return;
  }
  if (scale.kind === "group" && (scale.size % 128 !== 0 || scale.size < 128 || cols % scale.size !== 0))
    fail(`groups of ${scale.size} do not divide ${cols} columns into multiples of 128`);
  const expected = scale.kind === "row" ? rows : rows * (cols / scale.size);
  if (scale.values.length !== expected) fail(`expected ${expected} scales, found ${scale.values.length}`);
  if (!scale.values.every((value) => Number.isFinite(value))) fail("a scale is not finite");
}

/** One operation of a program against its table: names of sizes get their numbers as fields are met. */
class OperationCheck {
  private readonly program: Program;
  private readonly op: AnyOperation;
  private readonly where: string;
  private readonly sizes = new Map<string, number>();

  constructor(program: Program, op: AnyOperation, where: string) {
    this.program = program;
    this.op = op;
    this.where = where;
  }

  check(table: OperationTable): void {
    const operation = Object.hasOwn(table, this.op.op) ? table[this.op.op] : undefined;
    if (operation === undefined) this.fail("there is no such operation");
    const fields = fieldsOf(table, this.op);
    this.sizes.set("vocabSize", this.program.vocabSize);
    this.sizes.set("contextLength", this.program.contextLength);
    for (const [name, field, value] of fields) this.checkField(name, field, value);
    for (const [size, divisor] of operation.multiples ?? []) this.checkMultiple(size, divisor);
    const operands = fields.flatMap(([name, field, value]) =>
      field.role === "attribute" ? [] : [{ name, field, value: value as BufferId | readonly BufferId[] }],
    );
    this.checkLists(operands);
    for (const names of operation.distinct ?? []) this.checkDistinct(names);
    const written = operands.filter(({ field }) => field.role !== "reads").flatMap(({ value }) => value);
    if (new Set(written).size !== written.length) this.fail("an output is named twice");
  }

  /** Attributes, and the class and existence of every buffer. Sizes of the KV cache get their numbers. */
  private checkField(name: string, field: ReturnType<typeof fieldsOf>[number][1], value: unknown): void {
    if (field.role !== "attribute") {
      if (field.list && !Array.isArray(value)) this.fail(`${name} must be a list of buffers`);
      for (const id of field.list ? (value as readonly unknown[]) : [value])
        this.checkOperand(name, field, id);
      return;
    }
    switch (field.type) {
      case "integer":
        if (
          !(
            Number.isSafeInteger(value) &&
            (value as number) >= field.least &&
            (value as number) <= field.most
          )
        )
          this.fail(`${name} ${String(value)} is not an integer in ${field.least}…${field.most}`);
        this.sizes.set(name, value as number);
        return;
      case "real":
        if (typeof value !== "number" || !isInRange(field, Math.fround(value)))
          this.fail(`${name} ${String(value)} is not in ${rangeText(field)}`);
        return;
      case "choice":
        if (!field.of.some((choice) => choice === value))
          this.fail(`${name} ${JSON.stringify(value)} is none of ${field.of.join(", ")}`);
    }
  }

  private checkOperand(name: string, field: OperandField, id: unknown): void {
    const buffer = this.program.buffers[id as BufferId] ?? this.fail(`buffer ${String(id)} does not exist`);
    if (operandOf(buffer) !== field.takes) this.fail(`"${buffer.name}" must be ${described[field.takes]}`);
    if (buffer.class === "kv") {
      this.sizes.set("nKvHeads", buffer.nKvHeads);
      this.sizes.set("headDim", buffer.headDim);
    }
    if (buffer.class !== "weight" || buffer.tensor.kind !== "dense" || field.types === undefined) return;
    if (!field.types.includes(buffer.tensor.type))
      this.fail(`${name} "${buffer.name}" is ${buffer.tensor.type}, expected ${field.types.join(" or ")}`);
  }

  /** Sizes of all operands: single ones first, then place by place in the lists. */
  private checkLists(
    operands: readonly { name: string; field: OperandField; value: BufferId | readonly BufferId[] }[],
  ): void {
    for (const { field, value } of operands)
      if (!field.list) this.checkSizes(field, value as BufferId, this.sizes);
    const lists = operands.filter(({ field }) => field.list);
    const lengths = lists.map(({ value }) => (value as readonly BufferId[]).length);
    const [length] = lengths;
    if (length === undefined) return;
    if (length === 0 || lengths.some((other) => other !== length))
      this.fail(
        `${lists.map(({ name }, i) => `${lengths[i]} ${name}`).join(" and ")}; expected as many of each, and at least one`,
      );
    for (let i = 0; i < length; i++) {
      const here = new Map(this.sizes);
      for (const { field, value } of lists)
        this.checkSizes(field, (value as readonly BufferId[])[i] as BufferId, here);
    }
  }

  private checkSizes(field: OperandField, id: BufferId, sizes: Map<string, number>): void {
    const buffer = this.program.buffers[id] as BufferDecl;
    if (buffer.class === "kv") return;
    const { cols, rows } =
      buffer.class === "activation" ? { cols: buffer.cols, rows: undefined } : buffer.tensor;
    const wantedRows = field.rows && rows !== undefined ? resolve(field.rows, rows, sizes) : rows;
    const wantedCols = field.cols ? resolve(field.cols, cols, sizes) : cols;
    if (wantedRows === rows && wantedCols === cols) return;
    if (rows === undefined) this.fail(`"${buffer.name}" has ${cols} columns, expected ${wantedCols}`);
    else this.fail(`"${buffer.name}" is ${rows} × ${cols}, expected ${wantedRows} × ${wantedCols}`);
  }

  private checkMultiple(size: Size, divisor: Size): void {
    const product = (names: Size) =>
      names.reduce((all, name) => all * (this.sizes.get(name) ?? Number.NaN), 1);
    if (product(size) % product(divisor) !== 0)
      this.fail(
        `${size.join(" · ")} ${product(size)} is no multiple of ${divisor.join(" · ")} ${product(divisor)}`,
      );
  }

  private checkDistinct(names: readonly string[]): void {
    const ids = names.map((name) => Reflect.get(this.op, name));
    if (new Set(ids).size !== ids.length) this.fail(`${names.join(", ")} must be different buffers`);
  }

  private fail(message: string): never {
    throw invalidProgram(this.program, `${this.where}: ${message}`);
  }
}

function isInRange({ least, isOpen, below }: RealField, value: number): boolean {
  return (isOpen ? value > least : value >= least) && value < below;
}

const described: Record<OperandField["takes"], string> = {
  f32: "an f32 activation",
  q8: "a q8 activation",
  ternary: "a ternary weight",
  dense: "a dense weight",
  kv: "a kv buffer",
};

function operandOf(buffer: BufferDecl): OperandField["takes"] {
  if (buffer.class === "kv") return "kv";
  return buffer.class === "weight" ? buffer.tensor.kind : buffer.type;
}

/**
 * The number that a size should have where `found` is met: that of its names, of which one may still be without a number and then gets what is
 * left of `found`. A product that does not divide `found` is not found again.
 */
function resolve(size: Size, found: number, sizes: Map<string, number>): number {
  const open = size.filter((name) => !sizes.has(name));
  const known = size.reduce((product, name) => product * (sizes.get(name) ?? 1), 1);
  const [name] = open;
  if (name === undefined || open.length > 1) return known;
  const rest = Math.max(1, Math.floor(found / known));
  sizes.set(name, rest);
  return known * rest;
}
