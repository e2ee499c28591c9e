/**
 * What a kernel is, and the WGSL that all have in common: parameters in a uniform, operands in group 0, the step in group 1. Kernels know
 * sizes and numbers only, never a model.
 */
import { pageTokens } from "@bitnet.ts/core";

// Variables in loops get their zeros written out in kernels: SwiftShader leaves them as the last turn left them.

/** How an operand is bound: `read` and `write` are storage buffers. */
export type Access = "read" | "write";

export interface Kernel {
  name: string;
  /** The whole module; its entry is `main`. */
  source: string;
  params: readonly string[];
  /** Of the operands, in the order in which they are bound from 1 on; 0 are the parameters. */
  access: readonly Access[];
  /** Whether it reads the rows of the step and their pages, or reports that a row is not finite. */
  usesRows: boolean;
}

export interface KernelText {
  /** In the order in which they are laid down, each `name: u32` or `name: f32`. */
  params: readonly string[];
  /** Each `name: type`, the type without `array<>`. */
  buffers: readonly (readonly [access: Access, declaration: string])[];
  usesRows?: boolean;
  threads: number;
  /** Declarations before the entry. */
  declarations?: string;
  /** Of `main`, with `group` (workgroup id) and `t` (index in the workgroup). */
  body: string;
}

/** Storage buffers that the step takes of those that a kernel may bind. */
export const stepBuffers = 2;

const stepDeclarations = `
struct Step { nRows: u32, pagesAt: u32, nSplits: u32, nRequests: u32 }
@group(1) @binding(0) var<uniform> step: Step;
`;
/** Rows: token, position, where the pages of the sequence begin, adapter + 1; behind all rows, at \`pagesAt\`, the page tables. */
const rowDeclarations = `
@group(1) @binding(1) var<storage, read> rows: array<u32>;
@group(1) @binding(2) var<storage, read_write> failure: array<atomic<u32>, 1>;
fn tokenOf(row: u32) -> u32 { return rows[4u * row]; }
fn positionOf(row: u32) -> u32 { return rows[4u * row + 1u]; }
fn pageOf(row: u32, position: u32) -> u32 { return rows[step.pagesAt + rows[4u * row + 2u] + position / ${pageTokens}u]; }
fn adapterOf(row: u32) -> u32 { return rows[4u * row + 3u]; }
// The first operation in order, and of its rows the first, that met NaN or infinity.
fn fail(operation: u32, row: u32) { atomicMin(&failure[0], (operation << 16u) | row); }
`;

export function kernel(name: string, text: KernelText): Kernel {
  const { params, buffers, usesRows = false, threads, declarations = "", body } = text;
  const operands = buffers.map(([access, declaration], i) => {
    const [variable, type] = declaration.split(/:\s*/);
    return `@group(0) @binding(${i + 1}) var<storage, ${access === "read" ? "read" : "read_write"}> ${variable}: array<${type}>;`;
  });
  const source = `
struct Params { ${params.join(", ")} }
@group(0) @binding(0) var<uniform> params: Params;
${operands.join("\n")}
${stepDeclarations}${usesRows ? rowDeclarations : ""}${declarations}
const threads = ${threads}u;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
${body}
}
`;
  return { name, source, params, access: buffers.map(([access]) => access), usesRows };
}
