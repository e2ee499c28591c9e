/**
 * A StepResult from the words that addon/step-job.cc writes. Every array of the result is a copy of its own, so that a small answer
 * does not keep a large buffer alive.
 */
import type { BufferId, BufferOutput, HeadResult, Program, Step, StepResult } from "@bitnet.ts/core";

/** Reads words and floats from one buffer in order. */
class Reader {
  readonly #buffer: ArrayBuffer;
  #at = 0; // bytes

  constructor(buffer: ArrayBuffer) {
    this.#buffer = buffer;
  }

  ints(n: number): Int32Array {
    return new Int32Array(this.#take(4 * n));
  }

  floats(n: number): Float32Array {
    return new Float32Array(this.#take(4 * n));
  }

  doubles(n: number): Float64Array {
    return new Float64Array(this.#take(8 * n));
  }

  /** `n` bytes, after which the reader stands at the next whole word. */
  bytes(n: number): Int8Array {
    return new Int8Array(this.#take(4 * Math.ceil(n / 4)).slice(0, n));
  }

  #take(length: number): ArrayBuffer {
    const from = this.#at;
    this.#at += length;
    return this.#buffer.slice(from, this.#at);
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
  const [nIds = 0, nLogits = 0, nApart = 0, flags = 0] = reader.ints(4);
  const [low = 0, high = 0] = reader.doubles(2);
  const [logSumExp = 0] = reader.floats(2);
  const ids = reader.ints(nIds);
  const logits = reader.floats(nLogits);
  const apartLogits = reader.floats(nApart);
  const result: HeadResult = { row, ids, logits, apartLogits };
  if ((flags & 1) !== 0) result.logSumExp = logSumExp;
  if ((flags & 2) !== 0) result.rest = { low, high };
  return result;
}

function readOutput(reader: Reader, program: Program, id: BufferId, nRows: number): BufferOutput {
  const buffer = program.buffers[id];
  if (buffer?.class !== "activation") return { buffer: id };
  const n = nRows * buffer.cols;
  if (buffer.type === "f32") return { buffer: id, values: reader.floats(n) };
  const values = reader.bytes(n);
  return { buffer: id, quantised: { values, scales: reader.floats(nRows) } };
}
