/**
 * Records a Program: declares buffers and appends operations, with weights still named rather than located. bind-weights.ts
 * turns a Recording into a Program by finding each named weight in the files.
 */
import type { BufferDecl, BufferId, Op } from "../backend/program.ts";
import type { ModelConfig } from "./model-config.ts";
import type { RopeShape } from "./rope-scaling.ts";
import type { RopeTensors } from "./rope-tensors.ts";

/** A weight that a recording asks for; `name` is the GGUF tensor name without ".weight". */
export type WeightRequest =
  | { class: "request"; kind: "ternary"; name: string; rows: number; cols: number }
  /** Each element w is to be computed with as f32(f32(w + plus) · times). */
  | {
      class: "request";
      kind: "dense";
      name: string;
      rows: number;
      cols: number;
      plus: number;
      times: number;
    }
  /** f32 [contextLength, headDim]: cosines, then sines (numerics: RoPE table). */
  | {
      class: "request";
      kind: "ropeTable";
      name: string;
      shape: RopeShape;
      /** Weights [headDim / 2] that the frequencies are divided by; null: none. */
      divisors: RopeTensors | null;
    };

export interface Recording {
  name: string;
  contextLength: number;
  vocabSize: number;
  buffers: (WeightRequest | Exclude<BufferDecl, { class: "weight" }>)[];
  ops: Op[];
}

export class Recorder {
  readonly recording: Recording;

  constructor({ name, contextLength, vocabSize }: Pick<ModelConfig, "name" | "contextLength" | "vocabSize">) {
    this.recording = { name, contextLength, vocabSize, buffers: [], ops: [] };
  }

  /** Ternary weight [rows, cols]. */
  ternary(name: string, rows: number, cols: number): BufferId {
    return this.addBuffer({ class: "request", kind: "ternary", name, rows, cols });
  }

  /** Dense weight [rows, cols]; `plus` and `times` change what the file has. */
  dense(name: string, rows: number, cols: number, { plus = 0, times = 1 } = {}): BufferId {
    return this.addBuffer({ class: "request", kind: "dense", name, rows, cols, plus, times });
  }

  ropeTable(
    name: string,
    shape: Omit<RopeShape, "contextLength">,
    divisors: RopeTensors | null = null,
  ): BufferId {
    const { contextLength } = this.recording;
    const whole = { ...shape, contextLength };
    return this.addBuffer({ class: "request", kind: "ropeTable", name, shape: whole, divisors });
  }

  /** f32 activation [nRows, cols]. */
  f32(name: string, cols: number): BufferId {
    return this.addBuffer({ class: "activation", name, type: "f32", cols });
  }

  /** int8 activation [nRows, cols] with a scale per row, or per row and group. */
  q8(name: string, cols: number, groupSize: 128 | null): BufferId {
    return this.addBuffer({
      class: "activation",
      name,
      type: "q8",
      cols,
      ...(groupSize ? { groupSize } : {}),
    });
  }

  kv(name: string, nKvHeads: number, headDim: number): BufferId {
    return this.addBuffer({ class: "kv", name, nKvHeads, headDim });
  }

  add(op: Op): void {
    this.recording.ops.push(op);
  }

  private addBuffer(buffer: Recording["buffers"][number]): BufferId {
    return this.recording.buffers.push(buffer) - 1;
  }
}
