/** Whether a series grows: its slope by the median of all pairs (Theil and Sen), which a few outliers do not bend. */

/** @returns Units of `values` from one to the next. */
export function slopeOf(values: readonly number[]): number {
  const slopes: number[] = [];
  for (const [i, a] of values.entries())
    for (const [j, b] of values.entries()) if (j > i) slopes.push((b - a) / (j - i));
  slopes.sort((a, b) => a - b);
  const middle = slopes.length >> 1;
  const high = slopes[middle] ?? 0;
  return slopes.length % 2 === 1 ? high : (high + (slopes[middle - 1] ?? high)) / 2;
}

/** What the server weighs after its garbage has been collected. */
export interface Weight {
  /** JavaScript's heap, and buffers outside it. */
  readonly heapBytes: number;
  readonly residentBytes: number;
  readonly descriptors: number;
  /** Timers, sockets, and what else keeps a loop alive. */
  readonly resources: number;
}

/** Most that a request may leave behind, on average: less than the smallest thing that a request is remembered by. */
const perRequest: Weight = { heapBytes: 256, residentBytes: 8192, descriptors: 0.01, resources: 0.01 };

/** What an allocator and a compiler of hot code may still take from the system once all is warm: only a rise beyond it is growth. */
const residentSlack = 16 * 2 ** 20;

/**
 * What grows, in words; empty when nothing does. Allocators keep what they once had: the memory of the process rises for some rounds to
 * the most that was ever in use, so that only the second half says something of it, and a few megabytes say nothing.
 */
export function growthOf(weights: readonly Weight[], requestsBetween: number): string[] {
  const names = Object.keys(perRequest) as (keyof Weight)[];
  return names.flatMap((name) => {
    const series = name === "residentBytes" ? weights.slice(weights.length >> 1) : weights;
    const rise = slopeOf(series.map((weight) => weight[name]));
    const slope = rise / requestsBetween;
    if (slope <= perRequest[name]) return [];
    if (name === "residentBytes" && rise * (series.length - 1) <= residentSlack) return [];
    return [`${name}: ${slope.toPrecision(3)} a request, ${perRequest[name]} may be`];
  });
}
