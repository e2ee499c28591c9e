/**
 * Memory of a graph's values and of their gradients. Values that replace others share memory with them. With recomputation, values that
 * live inside one segment share memory with those at the same place of every other segment. Knows nothing of operations' meaning.
 */
import type { Floats, Kernels } from "../kernels/kernels.ts";
import { type Graph, inputsOf, outputsOf, type ValueId } from "./graph.ts";

/** @returns One buffer of `maxRows` rows per value. */
export function planValues(graph: Graph, kernels: Kernels, maxRows: number, recomputes: boolean): Floats[] {
  const owner = ownersOf(graph);
  const crossing = crossingOwners(graph, owner);
  const places = recomputes ? placesInSegments(graph, owner) : null;
  const buffers = new Map<string, Floats>();
  return graph.values.map((value, id) => {
    const own = owner[id] ?? id;
    const place = crossing.has(own) ? undefined : places?.get(own);
    const key = place === undefined ? `value ${own}` : `place ${place} of ${value.width}`;
    const buffer = buffers.get(key) ?? kernels.allocate(maxRows * value.width);
    buffers.set(key, buffer);
    return buffer;
  });
}

/** For each value the one whose memory it takes over in the end. */
function ownersOf({ values }: Graph): ValueId[] {
  const owner: ValueId[] = [];
  values.forEach(({ replaces }, id) => {
    owner.push(replaces === null ? id : (owner[replaces] ?? replaces));
  });
  return owner;
}

/** Owners of memory that one segment writes and another reads. */
function crossingOwners(graph: Graph, owner: readonly ValueId[]): Set<ValueId> {
  const madeIn = new Map<ValueId, number>();
  const crossing = new Set<ValueId>();
  graph.operations.forEach((op, index) => {
    const segment = graph.segments[index] ?? 0;
    for (const id of inputsOf(op)) if (madeIn.get(owner[id] ?? id) !== segment) crossing.add(owner[id] ?? id);
    for (const id of outputsOf(op)) madeIn.set(owner[id] ?? id, segment);
  });
  return crossing;
}

/** The how-manieth of its segment each piece of memory is. */
function placesInSegments(graph: Graph, owner: readonly ValueId[]): Map<ValueId, number> {
  const places = new Map<ValueId, number>();
  let segment = -1;
  let next = 0;
  graph.operations.forEach((op, index) => {
    if (graph.segments[index] !== segment) {
      segment = graph.segments[index] ?? 0;
      next = 0;
    }
    for (const id of outputsOf(op)) {
      const own = owner[id] ?? id;
      if (!places.has(own)) places.set(own, next++);
    }
  });
  return places;
}

/** Gradients of values come and go during the way back; their memory is used again. */
export class GradientPool {
  readonly #kernels: Kernels;
  readonly #maxRows: number;
  readonly #free = new Map<number, Floats[]>();
  readonly #held = new Map<ValueId, { whole: Floats; width: number }>();

  constructor(kernels: Kernels, maxRows: number) {
    this.#kernels = kernels;
    this.#maxRows = maxRows;
  }

  /** The gradient of a value, zeros when nothing has been added to it yet. */
  of(id: ValueId, width: number, rows: number): Floats {
    let held = this.#held.get(id);
    if (held === undefined) {
      const whole = this.#free.get(width)?.pop() ?? this.#kernels.allocate(this.#maxRows * width);
      whole.fill(0, 0, rows * width);
      held = { whole, width };
      this.#held.set(id, held);
    }
    return held.whole.subarray(0, rows * width);
  }

  has(id: ValueId): boolean {
    return this.#held.has(id);
  }

  /** `to` takes over what was gathered for `from`; nothing may have been added to it before. */
  move(from: ValueId, to: ValueId): void {
    const held = this.#held.get(from);
    if (held === undefined) return;
    this.#held.delete(from);
    this.#held.set(to, held);
  }

  release(id: ValueId): void {
    const held = this.#held.get(id);
    if (held === undefined) return;
    this.#held.delete(id);
    const list = this.#free.get(held.width);
    if (list === undefined) this.#free.set(held.width, [held.whole]);
    else list.push(held.whole);
  }
}
