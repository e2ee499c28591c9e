/**
 * A StepResult from the words that native/engine/step-job.cc writes. Every array of the result is a copy of its own, so that a small answer
 * does not keep a large buffer alive.
 */
import type { BufferId, Program } from "../program.ts";
import type { BufferOutput, HeadResult, Step, StepResult } from "../step.ts";

/** Reads words and floats from one buffer in order. */
class Reader {
  readonly #ints: Int32Array;
  readonly #floats: Float32Array;
  #at = 0; // words

  constructor(buffer: ArrayBuffer) {
    this.#ints = new Int32Array(buffer);
    this.#floats = new Float32Array(buffer);
  }

  int(): number {
    return this.#ints[this.#at++] ?? 0;
  }

  float(): number {
    return this.#floats[this.#at++] ?? 0;
  }

  ints(n: number): Int32Array {
    this.#at += n;
    return this.#ints.slice(this.#at - n, this.#at);
  }

  floats(n: number): Float32Array {
    this.#at += n;
    return this.#floats.slice(this.#at - n, this.#at);
  }

  /** A double, which need not lie at a multiple of its size. */
  double(): number {
    return new Float64Array(this.ints(2).buffer)[0] ?? 0;
  }

  /** `n` bytes, after which the reader stands at the next whole word. */
  bytes(n: number): Int8Array {
    return new Int8Array(this.ints(Math.ceil(n / 4)).buffer).slice(0, n);
  }

  passOver(nWords: number): void {
    this.#at += nWords;
  }
}

/** What a step asked for, as far as its result depends on it. */
interface Asked {
  nRows: number;
  /** Rows of the head requests. */
  headRows: readonly number[];
  outputs: readonly BufferId[];
}

export function askedOf(step: Step): Asked {
  return {
    nRows: step.tokens.length,
    headRows: step.heads.map(({ row }) => row),
    outputs: [...(step.outputs ?? [])],
  };
}

export function decodeResult(buffer: ArrayBuffer, program: Program, asked: Asked): StepResult {
  const reader = new Reader(buffer);
  return {
    heads: asked.headRows.map((row) => readHead(reader, row)),
    outputs: asked.outputs.map((id) => readOutput(reader, program, id, asked.nRows)),
  };
}

function readHead(reader: Reader, row: number): HeadResult {
  const nIds = reader.int();
  const nLogits = reader.int();
  const nApart = reader.int();
  const flags = reader.int();
  const hasRest = (flags & 2) !== 0;
  const rest = hasRest ? { low: reader.double(), high: reader.double() } : undefined;
  if (!hasRest) reader.passOver(4);
  const logSumExp = reader.float();
  reader.passOver(1); // fills up a pair of words
  const ids = reader.ints(nIds);
  const values = reader.floats(nLogits);
  const apartLogits = reader.floats(nApart);
  const isState = (flags & 4) !== 0;
  const result: HeadResult = { row, ids, logits: isState ? new Float32Array() : values, apartLogits };
  if (isState) result.state = values;
  if ((flags & 1) !== 0) result.logSumExp = logSumExp;
  if (rest) result.rest = rest;
  return result;
}

function readOutput(reader: Reader, program: Program, id: BufferId, nRows: number): BufferOutput {
  const buffer = program.buffers[id];
  if (buffer?.class !== "activation") return { buffer: id };
  const n = nRows * buffer.cols;
  if (buffer.type === "f32") return { buffer: id, values: reader.floats(n) };
  const values = reader.bytes(n);
  const groups = buffer.groupSize === undefined ? 1 : Math.ceil(buffer.cols / buffer.groupSize);
  return { buffer: id, quantised: { values, scales: reader.floats(nRows * groups) } };
}
