/**
 * A Step as one array of 32-bit words, for native/engine/step.cc to decode; floats travel as their bits. The words are a copy, so that
 * the step's arrays may change as soon as it has been handed over.
 */
import type { DrawWant, HeadRequest, HeadWant, HeadWantKind, Step } from "../step.ts";

const headWords = 9;
const wants: Readonly<Record<HeadWantKind, number>> = {
  top: 0,
  above: 1,
  winner: 2,
  all: 3,
  mass: 4,
  draw: 5,
  state: 6,
};
const drawWords = 11;

/** The kinds of head requests that the engine answers. */
export const headWants = Object.keys(wants) as readonly HeadWantKind[];

/** Encodes a step that `validateStep` accepts. */
export function encodeStep(step: Step): Int32Array {
  const { tokens, positions, sequences, adapters, pageTables, pageCopies, heads, inputs, outputs } = step;
  const words = new Int32Array(countWords(step));
  let at = 0;
  const put = (array: ArrayLike<number>) => {
    words.set(array, at);
    at += array.length;
  };
  words[at++] = tokens.length;
  words[at++] = pageTables.length;
  words[at++] = (pageCopies?.length ?? 0) / 2;
  words[at++] = heads.length;
  words[at++] = inputs?.length ?? 0;
  words[at++] = outputs?.length ?? 0;
  words[at++] = adapters === undefined ? 0 : 1;
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
    at = putHead(words, at, head);
    if (head.want.kind === "draw") put(drawSettings(head.want));
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
  let n = 7 + perRow * step.tokens.length + (step.pageCopies?.length ?? 0) + (step.outputs?.length ?? 0);
  for (const table of step.pageTables) n += 1 + table.length;
  for (const { want, apart, allow } of step.heads) {
    n += headWords + (apart?.length ?? 0) + (allow?.length ?? 0);
    if (want.kind === "draw") n += drawWords + 2 * (apart?.length ?? 0);
  }
  for (const { values } of step.inputs ?? []) n += 1 + values.length;
  return n;
}

/**
 * Row, want, its number, noise key (`mass`: its share and nothing), flags, length of `apart`.
 * @returns The place after them.
 */
function putHead(words: Int32Array, at: number, { row, want, logSumExp, allow, apart }: HeadRequest): number {
  words[at] = row;
  words[at + 1] = wants[want.kind];
  words[at + 2] = numberOf(want);
  if (want.kind === "winner" || want.kind === "draw") {
    words[at + 3] = want.seed;
    words[at + 4] = want.choice;
    words[at + 5] = want.index;
  }
  if (want.kind === "mass") words[at + 3] = bitsOf(leastShare(want.share));
  words[at + 6] = logSumExp ? 1 : 0;
  words[at + 7] = allow ? 1 : 0;
  words[at + 8] = apart?.length ?? 0;
  return at + headWords;
}

function numberOf(want: HeadWant): number {
  if (want.kind === "top") return Math.min(want.k, 2 ** 31 - 1);
  if (want.kind === "above") return bitsOf(want.margin);
  return want.kind === "all" || want.kind === "state" ? 0 : bitsOf(want.temperature);
}

/** `topK`, `nBest`, the three shares as f64, the three penalties as f32. */
function drawSettings({ topK, nBest, typicalP, topP, minP, penalties }: DrawWant): Int32Array {
  const shares = new Int32Array(Float64Array.of(typicalP, topP, minP).buffer);
  const { repeat, frequency, presence } = penalties;
  return Int32Array.of(
    Math.min(topK, 2 ** 31 - 1),
    nBest,
    ...shares,
    ...[repeat, frequency, presence].map(bitsOf),
  );
}

/** A share that f32 would round to 0 is still one. */
function leastShare(share: number): number {
  return Math.max(share, 2 ** -126);
}

function bitsOf(value: number): number {
  return new Int32Array(Float32Array.of(value).buffer)[0] ?? 0;
}
