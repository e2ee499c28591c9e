/**
 * ONNX models as bytes: the few messages of its protobuf that a graph takes, with the tensors' values in a file beside it (external data). Field numbers
 * are those of onnx.proto3 of ONNX IR version 10.
 */

type ElementType = "f32" | "u8" | "i32" | "i64";
const elementTypes: Readonly<Record<ElementType, number>> = { f32: 1, u8: 2, i32: 6, i64: 7 };

export interface OnnxNode {
  op: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes?: Readonly<Record<string, number>>;
  /** Names of attributes that are floats. */
  floats?: readonly string[];
  /** One type of elements as an attribute `to`. */
  to?: ElementType;
  domain?: string;
}

export interface OnnxTensor {
  name: string;
  type: ElementType;
  shape: readonly number[];
  /** Its values, or where they lie in the file of data. */
  values: Uint8Array | { offset: number; length: number };
}

interface OnnxValue {
  name: string;
  type: ElementType;
  /** Names are sizes that are told by the inputs. */
  shape: readonly (number | string)[];
}

export interface OnnxGraph {
  nodes: readonly OnnxNode[];
  tensors: readonly OnnxTensor[];
  inputs: readonly OnnxValue[];
  outputs: readonly OnnxValue[];
  /** Versions of the sets of operations, by domain. */
  opsets: Readonly<Record<string, number>>;
}

/** @param dataFile Name of the file of data, beside the model. */
export function onnxBytes(graph: OnnxGraph, dataFile: string): Uint8Array {
  const body = message(
    ...graph.nodes.map((node) => field(1, nodeBytes(node))),
    field(2, text("graph")),
    ...graph.tensors.map((tensor) => field(5, tensorBytes(tensor, dataFile))),
    ...graph.inputs.map((value) => field(11, valueBytes(value))),
    ...graph.outputs.map((value) => field(12, valueBytes(value))),
  );
  const opsets = Object.entries(graph.opsets).map(([domain, version]) =>
    field(8, message(field(1, text(domain)), number(2, version))),
  );
  return message(number(1, 10), field(2, text("bitnet.ts bench")), field(7, body), ...opsets);
}

function nodeBytes({ op, inputs, outputs, attributes = {}, floats = [], to, domain = "" }: OnnxNode) {
  const given = Object.entries(attributes).map(([name, value]) =>
    floats.includes(name)
      ? message(field(1, text(name)), float(2, value), number(20, 1))
      : message(field(1, text(name)), number(3, value), number(20, 2)),
  );
  if (to !== undefined) given.push(message(field(1, text("to")), number(3, elementTypes[to]), number(20, 2)));
  return message(
    ...inputs.map((name) => field(1, text(name))),
    ...outputs.map((name) => field(2, text(name))),
    field(3, text(`${op} ${outputs[0]}`)),
    field(4, text(op)),
    ...given.map((attribute) => field(5, attribute)),
    field(7, text(domain)),
  );
}

function tensorBytes({ name, type, shape, values }: OnnxTensor, dataFile: string): Uint8Array {
  const where =
    values instanceof Uint8Array
      ? [field(9, values)]
      : [
          ...[
            ["location", dataFile],
            ["offset", String(values.offset)],
            ["length", String(values.length)],
          ].map(([key = "", value = ""]) => field(13, message(field(1, text(key)), field(2, text(value))))),
          number(14, 1),
        ];
  return message(
    ...shape.map((size) => number(1, size)),
    number(2, elementTypes[type]),
    field(8, text(name)),
    ...where,
  );
}

function valueBytes({ name, type, shape }: OnnxValue): Uint8Array {
  const sizes = shape.map((size) =>
    field(1, typeof size === "number" ? message(number(1, size)) : message(field(2, text(size)))),
  );
  const tensor = message(number(1, elementTypes[type]), field(2, message(...sizes)));
  return message(field(1, text(name)), field(2, message(field(1, tensor))));
}

// ---- protobuf ----

function message(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

function text(value: string): Uint8Array {
  return Buffer.from(value);
}

/** Bytes of a field that tell their length. */
function field(id: number, bytes: Uint8Array): Uint8Array {
  return message(varint(8 * id + 2), varint(bytes.length), bytes);
}

/** @param value A whole number, negative ones in ten bytes as protobuf has them. */
function number(id: number, value: number): Uint8Array {
  return message(varint(8 * id), varint(value));
}

function float(id: number, value: number): Uint8Array {
  return message(varint(8 * id + 5), new Uint8Array(Float32Array.of(value).buffer));
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, BigInt(value));
  for (; left > 127n; left >>= 7n) bytes.push(Number(left & 127n) | 128);
  bytes.push(Number(left));
  return Uint8Array.from(bytes);
}
