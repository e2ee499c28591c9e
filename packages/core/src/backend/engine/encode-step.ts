/**
 * A Step as one array of 32-bit words, for native/engine/step.cc to decode; floats travel as their bits. The words are a copy, so that
 * the step's arrays may change as soon as it has been handed over.
 */
import type { DrawWant, HeadRequest, HeadWant, HeadWantKind, Step } from "../step.ts";
import { engineRecords } from "./engine-records.ts";
import { type RecordValues, wordsOf, writeRecord } from "./word-record.ts";

const { stepCounts, askedHead, drawFilters } = engineRecords;
const countWordsOfStep = wordsOf(stepCounts);
const headWords = wordsOf(askedHead);
const drawWords = wordsOf(drawFilters);

/** The kinds of head requests that the engine answers. */
export const headWants: readonly HeadWantKind[] = askedHead.fields.want.of;

/** Encodes a step that `validateStep` accepts. */
export function encodeStep(step: Step): Int32Array {
  const { tokens, positions, sequences, adapters, pageTables, pageCopies, heads, inputs, outputs } = step;
  const words = new Int32Array(countWords(step));
  let at = writeRecord(words, 0, stepCounts, {
    nRows: tokens.length,
    nTables: pageTables.length,
    nCopies: (pageCopies?.length ?? 0) / 2,
    nHeads: heads.length,
    nInputs: inputs?.length ?? 0,
    nOutputs: outputs?.length ?? 0,
    hasAdapters: adapters !== undefined,
  });
  const put = (array: ArrayLike<number>) => {
    words.set(array, at);
    at += array.length;
  };
  put(tokens);
  put(positions);
  put(sequences);
  if (adapters !== undefined) put(adapters);
  for (const table of pageTables) {
    words[at++] = table.length;
    put(table);
  }
  if (pageCopies) put(pageCopies);
  for (const head of heads) {
    at = writeRecord(words, at, askedHead, askedOf(head));
    if (head.want.kind === "draw") at = writeRecord(words, at, drawFilters, filtersOf(head.want));
    if (head.apart) put(head.apart);
    if (head.want.kind === "draw") {
      put(head.want.counts);
      put(new Int32Array(Float32Array.from(head.want.biases).buffer));
    }
    if (head.allow) put(head.allow);
  }
  for (const { buffer, values } of inputs ?? []) {
    words[at++] = buffer;
    new Float32Array(words.buffer).set(values, at);
    at += values.length;
  }
  if (outputs) put(outputs);
  return words;
}

function countWords(step: Step): number {
  const perRow = step.adapters === undefined ? 3 : 4;
  let n =
    countWordsOfStep +
    perRow * step.tokens.length +
    (step.pageCopies?.length ?? 0) +
    (step.outputs?.length ?? 0);
  for (const table of step.pageTables) n += 1 + table.length;
  for (const { want, apart, allow } of step.heads) {
    n += headWords + (apart?.length ?? 0) + (allow?.length ?? 0);
    if (want.kind === "draw") n += drawWords + 2 * (apart?.length ?? 0);
  }
  for (const { values } of step.inputs ?? []) n += 1 + values.length;
  return n;
}

function askedOf({ row, want, logSumExp, allow, apart }: HeadRequest): RecordValues<typeof askedHead> {
  const noise = want.kind === "winner" || want.kind === "draw" ? want : { seed: 0, choice: 0, index: 0 };
  return {
    row,
    want: want.kind,
    k: want.kind === "top" ? Math.min(want.k, 2 ** 31 - 1) : 0,
    real: realOf(want),
    share: want.kind === "mass" ? leastShare(want.share) : 0,
    seed: noise.seed,
    choice: noise.choice,
    index: noise.index,
    hasLogSumExp: logSumExp === true,
    hasAllow: allow !== undefined,
    nApart: apart?.length ?? 0,
  };
}

function realOf(want: HeadWant): number {
  if (want.kind === "above") return want.margin;
  return "temperature" in want ? want.temperature : 0;
}

function filtersOf({ penalties, ...want }: DrawWant): RecordValues<typeof drawFilters> {
  const { topK, nBest, typicalP, topP, minP } = want;
  return { topK: Math.min(topK, 2 ** 31 - 1), nBest, typicalP, topP, minP, ...penalties };
}

/** A share that f32 would round to 0 is still one. */
function leastShare(share: number): number {
  return Math.max(share, 2 ** -126);
}
