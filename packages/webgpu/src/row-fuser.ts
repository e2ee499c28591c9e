/** Joins operations that run row by row and follow one another into as few dispatches as the adapter's bindings allow. */
import type { Dispatch } from "./dispatch.ts";
import { slotBytes } from "./dispatch.ts";
import { stepBuffers } from "./kernels/kernel.ts";
import { type RowPart, rowsKernel } from "./kernels/row-part.ts";

interface PendingPart {
  part: RowPart;
  params: Readonly<Record<string, number>>;
  operands: readonly GPUBuffer[];
}

export class RowFuser {
  readonly #threads: number;
  readonly #mostBuffers: number;
  readonly #pending: PendingPart[] = [];

  /** @param storageBuffers That a kernel may bind. */
  constructor(threads: number, storageBuffers: number) {
    this.#threads = threads;
    this.#mostBuffers = storageBuffers - stepBuffers;
  }

  /** @returns What has to run before, where the part does not fit in with it. */
  add(pending: PendingPart): Dispatch | null {
    const before = this.#fits(pending) ? null : this.flush();
    this.#pending.push(pending);
    return before;
  }

  /** What has been joined so far. */
  flush(): Dispatch | null {
    const parts = this.#pending.splice(0);
    if (parts.length === 0) return null;
    const operands = [...new Set(parts.flatMap((each) => each.operands))];
    const slots = parts.map((each) => each.operands.map((operand) => operands.indexOf(operand)));
    const kernel = rowsKernel(
      parts.map(({ part }) => part),
      slots,
      this.#threads,
    );
    const params = parts.flatMap((each, i) =>
      Object.entries(each.params).map(([name, value]) => [`${name}${i}`, value] as const),
    );
    return {
      variants: [{ kernel, least: 1, tile: 1, x: 1 }],
      params: Object.fromEntries(params),
      operands,
    };
  }

  #fits(next: PendingPart): boolean {
    const all = [...this.#pending, next];
    const nWords = all.reduce((sum, { part }) => sum + part.params.length, 0);
    return (
      new Set(all.flatMap(({ operands }) => operands)).size <= this.#mostBuffers && 4 * nWords <= slotBytes
    );
  }
}
