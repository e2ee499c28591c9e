/**
 * What a table of operations is made of: for each field of an operation its role, the kind of buffer that it takes, and how its size
 * relates to the other fields. Knows no operation; those stand in operations.ts.
 */
import type { DenseType } from "../packing/packing.ts";

/** Index into `Program.buffers`. */
export type BufferId = number;

/** What an operand is: an activation of a type, a weight of a kind, or one layer's KV cache. */
type Operand = "f32" | "q8" | "ternary" | "dense" | "kv";

/**
 * A size as a product of names. A name stands for the same number wherever an operation has it: an integer attribute, `vocabSize` or
 * `contextLength` of the program, `nKvHeads` or `headDim` of its kv buffer, else whatever the first field that has it gives. The empty
 * product is 1.
 */
export type Size = readonly string[];

export interface OperandField {
  /** Whether the operation reads the buffer, writes all of it, or modifies it in place. */
  role: "reads" | "writes" | "modifies";
  takes: Operand;
  /** Rows of a weight; activations have one a token. */
  rows?: Size;
  cols?: Size;
  /** A list of buffers. All lists of an operation are equally long, and a name that only lists have stands for another number in each place. */
  list?: true;
  /** Element types that a dense weight may have; all when missing. */
  types?: readonly DenseType[];
}

interface IntegerField {
  role: "attribute";
  type: "integer";
  least: number;
  most: number;
}

export interface RealField {
  role: "attribute";
  type: "real";
  /** Judged after rounding to f32: least ≤ value < below, or least < value where `isOpen`. */
  least: number;
  isOpen?: true;
  below: number;
}

interface ChoiceField {
  role: "attribute";
  type: "choice";
  /** Name of the enumeration in C++. */
  enumeration: string;
  of: readonly string[];
}

export type Field = OperandField | IntegerField | RealField | ChoiceField;

export interface Operation {
  /** One sentence or formula in terms of the fields. */
  does: string;
  /** In the order in which they are encoded. */
  fields: Readonly<Record<string, Field>>;
  /** Groups of operands that must be different buffers. What an operation writes differs in any case. */
  distinct?: readonly (readonly string[])[];
  /** Pairs of sizes of which the first must be a multiple of the second. */
  multiples?: readonly (readonly [Size, Size])[];
  /**
   * What becomes parallel: `rows` may run for one row while others run for other rows; `whole` needs all rows of its inputs, and work of its
   * own is shared out.
   */
  runs: "rows" | "whole";
}

export type OperationTable = Readonly<Record<string, Operation>>;

type FieldValue<F> = F extends { type: "choice"; of: readonly (infer Choice)[] }
  ? Choice
  : F extends { role: "attribute" }
    ? number
    : F extends { list: true }
      ? readonly BufferId[]
      : BufferId;

/** An operation of a table as it stands in a program. */
export type OperationOf<Table extends OperationTable, Name extends keyof Table> = Name extends string
  ? { op: Name } & {
      -readonly [F in keyof Table[Name]["fields"]]: FieldValue<Table[Name]["fields"][F]>;
    }
  : never;

/** Any operation, when the table is not known to the compiler. */
export type AnyOperation = { readonly op: string };

/** A range as a person would write it. */
export function rangeText({ least, isOpen, below }: RealField): string {
  return `${isOpen ? "(" : "["}${least}, ${below === Number.POSITIVE_INFINITY ? "∞" : below})`;
}

/** The table's fields of an operation with their values in order. @throws RangeError for an operation that the table lacks. */
export function fieldsOf(
  table: OperationTable,
  op: AnyOperation,
): [name: string, field: Field, value: unknown][] {
  const operation = Object.hasOwn(table, op.op) ? table[op.op] : undefined;
  if (operation === undefined) throw new RangeError(`no operation "${op.op}"`);
  return Object.entries(operation.fields).map(([name, field]) => [name, field, Reflect.get(op, name)]);
}

/** Ids of the buffers that an operation names, as one list a field. */
function operandsOf(
  table: OperationTable,
  op: AnyOperation,
): { name: string; field: OperandField; ids: readonly BufferId[] }[] {
  return fieldsOf(table, op).flatMap(([name, field, value]) =>
    field.role === "attribute"
      ? []
      : [{ name, field, ids: field.list ? (value as readonly BufferId[]) : [value as BufferId] }],
  );
}

/** The buffers that an operation of the table reads and writes; one that it modifies is in both. */
export function accessesIn(
  table: OperationTable,
  op: AnyOperation,
): { reads: readonly BufferId[]; writes: readonly BufferId[] } {
  const operands = operandsOf(table, op);
  const pick = (...roles: OperandField["role"][]) =>
    operands.filter(({ field }) => roles.includes(field.role)).flatMap(({ ids }) => ids);
  return { reads: pick("reads", "modifies"), writes: pick("writes", "modifies") };
}
