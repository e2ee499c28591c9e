/**
 * Operations that run row by row, as parts of one kernel: a workgroup does for its row one operation after the other. Each part writes what its
 * operation writes, so that fusing changes no bit and every result can be asked for.
 */
import { type Access, type Kernel, kernel } from "./kernel.ts";

/** In its texts `$name` stands for the part's own parameter, buffer or function. */
export interface RowPart {
  name: string;
  params: readonly string[];
  buffers: readonly (readonly [access: Access, declaration: string])[];
  /** Functions without names of its own; a kernel has each once. */
  shared?: readonly string[];
  declarations?: string;
  /** With `row`, `t` and `threads`; every thread of the workgroup runs it. */
  body: string;
}

/** @param slots For each part, which of the kernel's operands its buffers are. */
export function rowsKernel(
  parts: readonly RowPart[],
  slots: readonly (readonly number[])[],
  threads: number,
): Kernel {
  const buffers: [Access, string][] = [];
  for (const [i, part] of parts.entries()) {
    for (const [j, [access, declaration]] of part.buffers.entries()) {
      const slot = slots[i]?.[j] ?? 0;
      const known = buffers[slot]?.[0];
      buffers[slot] = [known === "write" ? known : access, `b${slot}: ${typeOf(declaration)}`];
    }
  }
  const texts = parts.map((part, i) => named(part, i, slots[i] ?? []));
  const shared = new Set(parts.flatMap((part) => part.shared ?? []));
  return kernel(parts.map(({ name }) => name).join(" + "), {
    params: parts.flatMap(({ params }, i) => params.map((param) => param.replace(":", `${i}:`))),
    buffers,
    usesRows: true,
    threads,
    declarations: [...shared, ...texts.map(({ declarations }) => declarations)].join("\n"),
    body: `  let row = group.y;\n${texts.map(({ body }) => `  {${body}\n  }`).join("\n  storageBarrier();\n")}`,
  });
}

function named(part: RowPart, i: number, slots: readonly number[]): { declarations: string; body: string } {
  const names = new Map<string, string>();
  for (const param of part.params) names.set(nameOf(param), `params.${nameOf(param)}${i}`);
  for (const [j, [, declaration]] of part.buffers.entries()) names.set(nameOf(declaration), `b${slots[j]}`);
  const replace = (text: string) =>
    text.replace(/\$(\w+)/g, (_, name: string) => names.get(name) ?? `${name}${i}`);
  return { declarations: replace(part.declarations ?? ""), body: replace(part.body) };
}

function nameOf(declaration: string): string {
  return declaration.split(/:\s*/)[0] ?? "";
}

function typeOf(declaration: string): string {
  return declaration.split(/:\s*/)[1] ?? "";
}
