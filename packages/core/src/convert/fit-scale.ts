/**
 * Between the scale that a tensor has and the scales that a packing can hold: as many as the packing wants where those in between are
 * equal, and a refusal with the numbers where they are not.
 */
import { BitNetError } from "../base/errors.ts";
import { f16ToF32, f32ToF16 } from "../base/float16.ts";
import type { Scale, TernaryShape } from "../packing/packing.ts";
import { groupSizes } from "./targets.ts";

/**
 * One scale per `size` columns, or for the tensor where `size` is null. Groups without a weight other than zero fit to any scale.
 * @throws BitNetError FORMAT_UNSUPPORTED, with the first two scales that would have to be one.
 */
export function fitScale(
  scale: Scale,
  trits: Int8Array,
  shape: TernaryShape,
  { size, format }: { size: number | null; format: string },
): Scale {
  if (scale.kind === "tensor") return scale;
  if (size !== null && shape.cols % size !== 0) return scale; // the packing refuses the shape, in its own words
  const from = scale.kind === "row" ? shape.cols : scale.size;
  if (size !== null && from % size === 0) return scale;
  const perRow = shape.cols / from;
  const nTargets = size === null ? 1 : (shape.rows * shape.cols) / size;
  const fitted = new Float32Array(nTargets);
  const holder = new Int32Array(nTargets).fill(-1);
  for (let i = 0; i < shape.rows * perRow; i++) {
    const begin = i * from;
    if (isEmpty(trits, begin, begin + from)) continue;
    const value = scale.values[i] ?? 0;
    const first = size === null ? 0 : Math.floor(begin / size);
    const last = size === null ? 0 : Math.floor((begin + from - 1) / size);
    for (let target = first; target <= last; target++) {
      const earlier = holder[target] ?? -1;
      if (earlier >= 0 && fitted[target] !== value)
        refuse(format, size, { from, perRow, groups: [earlier, i], values: [fitted[target] ?? 0, value] });
      holder[target] = i;
      fitted[target] = value;
    }
  }
  return size === null ? { kind: "tensor", value: fitted[0] ?? 0 } : { kind: "group", size, values: fitted };
}

function isEmpty(trits: Int8Array, begin: number, end: number): boolean {
  for (let i = begin; i < end; i++) if (trits[i] !== 0) return false;
  return true;
}

function refuse(
  format: string,
  size: number | null,
  found: {
    from: number;
    perRow: number;
    groups: readonly [number, number];
    values: readonly [number, number];
  },
): never {
  const { from, perRow, groups, values } = found;
  const place = (group: number) => {
    const column = (group % perRow) * from;
    return `row ${Math.floor(group / perRow)}, columns ${column} to ${column + from - 1}`;
  };
  // Binary weights are no choice for those that have zeros.
  const fitting = Object.entries(groupSizes).filter(
    ([name, n]) => n !== null && from % n === 0 && name !== "q1_0",
  );
  const advice =
    fitting.length === 0
      ? ""
      : `; choose a format that holds such scales: ${fitting.map(([name]) => name).join(", ")}`;
  const holds = size === null ? "one scale for the whole tensor" : `one scale for ${size} columns`;
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `${format} holds ${holds}, but here every ${from} columns have their own: ${place(groups[0])} have ${values[0]}, ` +
      `${place(groups[1])} have ${values[1]}${advice}`,
    { details: { format, size, found: from } },
  );
}

/** How much rounding scales to f16 changes them: the largest relative difference. */
export function f16RoundingOf(scale: Scale): number {
  const values = scale.kind === "tensor" ? [scale.value] : scale.values;
  let worst = 0;
  for (const value of values) {
    if (value === 0) continue;
    worst = Math.max(worst, Math.abs(f16ToF32(f32ToF16(value)) - value) / Math.abs(value));
  }
  return worst;
}
