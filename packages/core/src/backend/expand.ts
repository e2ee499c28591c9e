/**
 * Fused operations in terms of unfused ones: their definition, from which training takes gradients and which a backend that lacks a
 * fused operation runs instead. Expanding changes no bit.
 */
import { BitNetError } from "../base/errors.ts";
import type { Op, OpName, OpOf } from "./operations.ts";
import type { BufferDecl, BufferId, Program } from "./program.ts";

/** What a definition may ask of the program that it is written into. */
interface Scope {
  buffer(id: BufferId): BufferDecl;
  /** A new f32 activation that is as wide as another one. */
  temporary(like: BufferId): BufferId;
}

const definitions: { [Name in OpName]?: (op: OpOf<Name>, scope: Scope) => Op[] } = {
  rmsNormQuant({ x, weight, out, eps }, { temporary }) {
    const normed = temporary(x);
    return [
      { op: "rmsNorm", weight, x, out: normed, eps },
      { op: "quantise", x: normed, out },
    ];
  },
  ropeKv({ q, k, v, kv, table, nHeads, pairing }, { buffer }) {
    const cache = buffer(kv);
    const nKvHeads = cache.class === "kv" ? cache.nKvHeads : 0;
    return [
      { op: "rope", x: q, table, nHeads, pairing },
      { op: "rope", x: k, table, nHeads: nKvHeads, pairing },
      { op: "writeKv", k, v, kv },
    ];
  },
  gatedActivation({ gate, up, out, fn }, { temporary }) {
    const activated = temporary(gate);
    return [
      { op: "activation", x: gate, out: activated, fn },
      { op: "multiply", x: activated, y: up, out },
    ];
  },
};

/** Operations that are defined in terms of others. */
export const fusedNames = Object.keys(definitions) as readonly OpName[];

/**
 * The program with the operations that `keeps` refuses replaced by their definitions. Ids of buffers stay; buffers for what goes between are
 * added behind them. A valid program gives a valid one.
 * @throws BitNetError INVALID_ARGUMENT for an operation that is refused and has no definition.
 */
export function expandProgram(program: Program, keeps: (name: OpName) => boolean): Program {
  if (program.ops.every(({ op }) => keeps(op))) return program;
  const buffers = [...program.buffers];
  const scope: Scope = {
    buffer: (id) => buffers[id] as BufferDecl,
    temporary(like) {
      const { name, cols } = buffers[like] as Extract<BufferDecl, { class: "activation" }>;
      return buffers.push({ class: "activation", name: `${name}'`, type: "f32", cols }) - 1;
    },
  };
  const expand = (op: Op): Op[] => {
    if (keeps(op.op)) return [op];
    const define = definitions[op.op] as ((op: Op, scope: Scope) => Op[]) | undefined;
    if (define === undefined) {
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `program "${program.name}": there is no ${op.op}, and nothing to take its place`,
        { details: { operation: op.op } },
      );
    }
    return define(op, scope).flatMap(expand);
  };
  return { ...program, ops: program.ops.flatMap(expand), buffers };
}
