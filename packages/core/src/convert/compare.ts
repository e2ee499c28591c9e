/** Compares two opened models weight by weight, in whatever formats they are: every trit, and every scale. */
import { BitNetError, throwIfAborted } from "../base/errors.ts";
import { f16ToF32, f32ToF16 } from "../base/float16.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import { familyOf } from "../model/families.ts";
import type { ModelConfig } from "../model/model-config.ts";
import { isRopeTensor } from "../model/rope-tensors.ts";
import { isRotated, reorderRows, reorderScales, rowOrder } from "../model/row-order.ts";
import type { Scale } from "../packing/packing.ts";
import { isNorm } from "./narrow-type.ts";
import { type ConversionSource, describeSource, type SourceOptions, type SourceWeight } from "./source.ts";
import { readTernary, widenedSlices } from "./weights.ts";

export interface Comparison {
  /** Ternary weights that were compared. */
  nTrits: number;
  nScales: number;
  /** Scales that are the nearest f16 to the first model's, not the same; dense tables of another type are counted apart. */
  nRoundedScales: number;
  /** Weights whose rows stand in another order, so that attention adds up in another one and rounds otherwise. */
  nReordered: number;
  /** Dense tensors whose values differ, as embeddings in another type do. */
  changedTables: readonly string[];
}

export interface CompareOptions extends SourceOptions {
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
}

/** @throws BitNetError FORMAT_INVALID at the first trit or scale that differs. */
export async function compareModels(
  first: { files: ModelFiles; name: string },
  second: { files: ModelFiles; name: string },
  options: CompareOptions = {},
): Promise<Comparison> {
  const before = describeSource(first.files, first.name, options);
  const after = describeSource(second.files, second.name, options);
  const others = new Map(after.weights.map((weight) => [weight.ggufName, weight]));
  const result = { nTrits: 0, nScales: 0, nRoundedScales: 0, nReordered: 0, changedTables: [] as string[] };
  let done = 0;
  for (const weight of before.weights) {
    throwIfAborted(options.signal);
    const other = others.get(weight.ggufName);
    // A folder says by a rule what divisors say; the log-probabilities show whether it is the same.
    if (other === undefined && isRopeTensor(weight.ggufName) && second.files.kind === "hf") continue;
    if (other === undefined) throw differs(weight, "is missing");
    if (other.kind !== weight.kind || other.rows !== weight.rows || other.cols !== weight.cols)
      throw differs(weight, `is a ${other.kind} matrix of ${other.rows} × ${other.cols}`);
    if (weight.kind === "dense") {
      const shifts = [shiftOf(before, weight), shiftOf(after, other)] as const;
      if (!(await haveSameValues(weight, other, shifts))) result.changedTables.push(weight.ggufName);
    } else {
      const { nScales, nRounded } = await compareTernary(
        { before, weight },
        { after, other },
        options.signal,
      );
      result.nTrits += weight.rows * weight.cols;
      if (orderBetween(before, after, weight) !== null) result.nReordered++;
      result.nScales += nScales;
      result.nRoundedScales += nRounded;
    }
    done++;
    options.onProgress?.(done / before.weights.length);
  }
  return result;
}

/** Folders of some families hold what norms are beyond 1. */
function shiftOf({ config }: ConversionSource, { ggufName }: SourceWeight): number {
  return isNorm(ggufName) ? (config?.normShift ?? 0) : 0;
}

async function haveSameValues(
  weight: SourceWeight,
  other: SourceWeight,
  [shift, otherShift]: readonly [number, number],
): Promise<boolean> {
  const theirs = widenedSlices(other.tensor, other);
  for await (const values of widenedSlices(weight.tensor, weight)) {
    const { value } = await theirs.next();
    if (value === undefined) return false;
    const others = value as Float32Array;
    const isSame = (x: number, i: number) =>
      Object.is(Math.fround(x + shift), Math.fround((others[i] ?? Number.NaN) + otherShift));
    if (!values.every(shift === otherShift ? (x, i) => Object.is(x, others[i]) : isSame)) return false;
  }
  return true;
}

async function compareTernary(
  { before, weight }: { before: ConversionSource; weight: SourceWeight },
  { after, other }: { after: ConversionSource; other: SourceWeight },
  signal: AbortSignal | undefined,
): Promise<{ nScales: number; nRounded: number }> {
  const ours = await readTernary(before.weightFiles, weight.name, weight, signal);
  const theirs = await readTernary(after.weightFiles, other.name, other, signal);
  const order = orderBetween(before, after, weight);
  const expected = order === null ? ours.trits : reorderRows(ours.trits, weight.cols, order);
  const at = expected.findIndex((trit, i) => trit !== theirs.trits[i]);
  if (at >= 0) {
    const place = `row ${Math.floor(at / weight.cols)}, column ${at % weight.cols}`;
    throw differs(weight, `has ${theirs.trits[at]} at ${place}, expected ${expected[at]}`);
  }
  const scale = order === null ? ours.scale : reorderScales(ours.scale, weight.rows, order);
  return compareScales(weight, scale, theirs.scale, expected);
}

function orderBetween(
  before: ConversionSource,
  after: ConversionSource,
  weight: SourceWeight,
): Int32Array | null {
  const [from, to] = [pairingOf(before), pairingOf(after)];
  const { config } = before;
  if (config === null || from === null || to === null || from === to) return null;
  return isRotated(weight.ggufName.replace(/\.weight$/, ""))
    ? rowOrder(weight.rows, config.headDim, from, to)
    : null;
}

function pairingOf({ config, files }: ConversionSource): ModelConfig["pairing"] | null {
  if (config === null) return null;
  return files.kind === "gguf" ? familyOf(config).ggufPairing : config.pairing;
}

/** Group by group of the finer of the two; groups of zeros may have any scale. */
function compareScales(
  weight: SourceWeight,
  ours: Scale,
  theirs: Scale,
  trits: Int8Array,
): { nScales: number; nRounded: number } {
  const { rows, cols } = weight;
  const run = Math.min(runOf(ours, cols), runOf(theirs, cols));
  let nRounded = 0;
  const nScales = ours.kind === "tensor" && theirs.kind === "tensor" ? 1 : (rows * cols) / run;
  for (let i = 0; i < nScales; i++) {
    const begin = i * run;
    const length = nScales === 1 ? rows * cols : run;
    const expected = scaleAt(ours, begin, cols);
    const found = scaleAt(theirs, begin, cols);
    if (Object.is(expected, found)) continue;
    if (trits.subarray(begin, begin + length).every((trit) => trit === 0)) continue;
    if (found !== f16ToF32(f32ToF16(expected)))
      throw differs(weight, `has the scale ${found}, expected ${expected}`);
    nRounded++;
  }
  return { nScales, nRounded };
}

function runOf(scale: Scale, cols: number): number {
  return scale.kind === "group" ? scale.size : cols;
}

function scaleAt(scale: Scale, element: number, cols: number): number {
  if (scale.kind === "tensor") return scale.value;
  const run = runOf(scale, cols);
  return scale.values[Math.floor(element / run)] ?? Number.NaN;
}

function differs({ ggufName }: SourceWeight, how: string): BitNetError {
  return new BitNetError("FORMAT_INVALID", `the result is not the same model: tensor "${ggufName}" ${how}`);
}
