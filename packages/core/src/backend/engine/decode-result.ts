/**
 * A StepResult from the words that native/engine/step-job.cc writes. Every array of the result is a copy of its own, so that a small answer
 * does not keep a large buffer alive.
 */
import type { BufferId, Program } from "../program.ts";
import type { BufferOutput, HeadResult, Step, StepResult } from "../step.ts";
import { engineRecords } from "./engine-records.ts";
import { type EngineRecord, type RecordValues, readRecord, wordsOf } from "./word-record.ts";

/** Reads words and floats from one buffer in order. */
class Reader {
  readonly #buffer: ArrayBuffer;
  readonly #ints: Int32Array;
  readonly #floats: Float32Array;
  #at = 0; // words

  constructor(buffer: ArrayBuffer) {
    this.#buffer = buffer;
    this.#ints = new Int32Array(buffer);
    this.#floats = new Float32Array(buffer);
  }

  record<R extends EngineRecord>(record: R): RecordValues<R> {
    const values = readRecord(this.#buffer, this.#at, record);
    this.#at += wordsOf(record);
    return values;
  }

  ints(n: number): Int32Array {
    this.#at += n;
    return this.#ints.slice(this.#at - n, this.#at);
  }

  floats(n: number): Float32Array {
    this.#at += n;
    return this.#floats.slice(this.#at - n, this.#at);
  }

  /** `n` bytes, after which the reader stands at the next whole word. */
  bytes(n: number): Int8Array {
    return new Int8Array(this.ints(Math.ceil(n / 4)).buffer).slice(0, n);
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
  const head = reader.record(engineRecords.answeredHead);
  const ids = reader.ints(head.nIds);
  const values = reader.floats(head.nLogits);
  const apartLogits = reader.floats(head.nApart);
  const result: HeadResult = { row, ids, logits: head.isState ? new Float32Array() : values, apartLogits };
  if (head.isState) result.state = values;
  if (head.hasLogSumExp) result.logSumExp = head.logSumExp;
  if (head.hasRest) result.rest = { low: head.restLow, high: head.restHigh };
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
