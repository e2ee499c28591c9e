/** A heap of pairs: the highest count first, then the lower key. Knows nothing of what a key means. */

export interface QueuedPair {
  key: number;
  count: number;
}

export class PairQueue {
  readonly #heap: QueuedPair[] = [];

  push(key: number, count: number): void {
    const heap = this.#heap;
    const entry = { key, count };
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as QueuedPair;
      if (!precedes(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  /** Takes the first; null when there is none. */
  pop(): QueuedPair | null {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return null;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && precedes(heap[child + 1] as QueuedPair, heap[child] as QueuedPair))
        child++;
      const below = heap[child] as QueuedPair;
      if (!precedes(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function precedes(a: QueuedPair, b: QueuedPair): boolean {
  return a.count > b.count || (a.count === b.count && a.key < b.key);
}
