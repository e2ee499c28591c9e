/**
 * Records a Program: declares buffers and appends operations, with weights still named rather than located. bind-weights.ts
 * turns a Recording into a Program by finding each named weight in the files.
 */
import type { BufferDecl, BufferId, Op } from "../backend/program.ts";
import type { ModelConfig } from "./model-config.ts";

/** A weight that a recording asks for; `name` is the GGUF tensor name without ".weight". */
export type WeightRequest =
  | { class: "request"; kind: "ternary" | "dense"; name: string; rows: number; cols: number }
  /** f32 [contextLength, headDim]: cosines, then sines (numerics: RoPE table). */
  | {
      class: "request";
      kind: "ropeTable";
      name: string;
      headDim: number;
      theta: number;
      contextLength: number;
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

  /** Dense weight [rows, cols]. */
  dense(name: string, rows: number, cols: number): BufferId {
    return this.addBuffer({ class: "request", kind: "dense", name, rows, cols });
  }

  ropeTable(headDim: number, theta: number): BufferId {
    const { contextLength } = this.recording;
    return this.addBuffer({
      class: "request",
      kind: "ropeTable",
      name: "rope_table",
      headDim,
      theta,
      contextLength,
    });
  }

  /** f32 activation [nRows, cols]. */
  f32(name: string, cols: number): BufferId {
    return this.addBuffer({ class: "activation", name, type: "f32", cols });
  }

  /** int8 activation [nRows, cols] with a scale per row. */
  q8(name: string, cols: number): BufferId {
    return this.addBuffer({ class: "activation", name, type: "q8", cols });
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
