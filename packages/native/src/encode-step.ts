/**
 * A Step as one array of 32-bit words, for addon/step.cc to decode; floats travel as their bits. The words are a copy, so that
 * the step's arrays may change as soon as it has been handed over.
 */
import type { HeadRequest, HeadWant, Step } from "@bitnet.ts/core";

const headWords = 9;
const wants = { top: 0, above: 1, winner: 2, all: 3, mass: 4 } as const;

/** Encodes a step that `validateStep` accepts. */
export function encodeStep(step: Step): Int32Array {
  const { tokens, positions, sequences, pageTables, heads } = step;
  const copies = step.pageCopies ?? new Int32Array();
  const inputs = step.inputs ?? [];
  const outputs = step.outputs ?? [];
  const words = new Int32Array(countWords(step));
  const floats = new Float32Array(words.buffer);
  let at = 0;
  const put = (array: Int32Array | Uint32Array) => {
    words.set(array, at);
    at += array.length;
  };
  put(
    Int32Array.of(
      tokens.length,
      pageTables.length,
      copies.length / 2,
      heads.length,
      inputs.length,
      outputs.length,
    ),
  );
  put(tokens);
  put(positions);
  put(sequences);
  for (const table of pageTables) {
    words[at++] = table.length;
    put(table);
  }
  put(copies);
  for (const head of heads) {
    const apart = head.apart ?? new Int32Array();
    put(wordsOfHead(head, apart.length));
    put(apart);
    if (head.allow) put(head.allow);
  }
  for (const { buffer, values } of inputs) {
    words[at++] = buffer;
    floats.set(values, at);
    at += values.length;
  }
  put(Int32Array.from(outputs));
  return words;
}

function countWords(step: Step): number {
  let n = 6 + 3 * step.tokens.length + (step.pageCopies?.length ?? 0) + (step.outputs?.length ?? 0);
  for (const table of step.pageTables) n += 1 + table.length;
  for (const head of step.heads) n += headWords + (head.apart?.length ?? 0) + (head.allow?.length ?? 0);
  for (const { values } of step.inputs ?? []) n += 1 + values.length;
  return n;
}

/** Row, want, its number, noise key (`mass`: its share and nothing), flags, length of `apart`. */
function wordsOfHead({ row, want, logSumExp, allow }: HeadRequest, nApart: number): Int32Array {
  const share = want.kind === "mass" ? bitsOf(leastShare(want.share)) : 0;
  const { seed, choice, index } = want.kind === "winner" ? want : { seed: share, choice: 0, index: 0 };
  return Int32Array.of(
    row,
    wants[want.kind],
    numberOf(want),
    seed,
    choice,
    index,
    logSumExp ? 1 : 0,
    allow ? 1 : 0,
    nApart,
  );
}

function numberOf(want: HeadWant): number {
  if (want.kind === "top") return Math.min(want.k, 2 ** 31 - 1);
  if (want.kind === "above") return bitsOf(want.margin);
  return want.kind === "winner" || want.kind === "mass" ? bitsOf(want.temperature) : 0;
}

/** A share that f32 would round to 0 is still one. */
function leastShare(share: number): number {
  return Math.max(share, 2 ** -126);
}

function bitsOf(value: number): number {
  return new Int32Array(Float32Array.of(value).buffer)[0] ?? 0;
}
