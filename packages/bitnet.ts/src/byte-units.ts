/** Sizes in binary units, as memory is counted. */

const units = [
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["KiB", 2 ** 10],
  ["bytes", 1],
] as const;

/** Two sizes in the largest unit that tells them apart: never "needs 1.0 GiB, but only 1.0 GiB are left". */
export function tellApart(larger: number, smaller: number): [string, string] {
  for (const [name, size] of units) {
    const digits = size === 1 ? 0 : 1;
    const [a, b] = [larger, smaller].map((bytes) => `${(bytes / size).toFixed(digits)} ${name}`) as [
      string,
      string,
    ];
    if (larger >= size && a !== b) return [a, b];
  }
  return [`${larger} bytes`, `${smaller} bytes`];
}
