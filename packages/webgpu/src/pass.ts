/** Encodes dispatches one after the other, and says nothing twice: encoding is what a step costs the processor. */
import type { ReadyDispatch } from "./dispatch.ts";

/** The rows (or requests) of a dispatch and, where a few rows look back far, blocks of attention by window. */
export interface Extent {
  rows: number;
  /** Null: attention goes through all blocks in one workgroup. */
  blocksOf: ((window: number) => number) | null;
}

export class Pass {
  readonly #encoder: GPUComputePassEncoder;
  readonly #groups: { rows: GPUBindGroup; count: GPUBindGroup };
  #pipeline: GPUComputePipeline | null = null;
  #step: GPUBindGroup | null = null;

  constructor(encoder: GPUComputePassEncoder, groups: { rows: GPUBindGroup; count: GPUBindGroup }) {
    this.#encoder = encoder;
    this.#groups = groups;
  }

  dispatch({ variants, operands, usesRows, blocks }: ReadyDispatch, { rows, blocksOf }: Extent): void {
    if (blocks !== undefined && (blocks.runs === "whole") !== (blocksOf === null)) return;
    const variant = variants.findLast(({ least }) => rows >= least);
    if (variant === undefined) return;
    const { kernel, tile, x } = variant;
    const step = usesRows ? this.#groups.rows : this.#groups.count;
    if (kernel !== this.#pipeline) this.#encoder.setPipeline(kernel);
    if (step !== this.#step) this.#encoder.setBindGroup(1, step);
    this.#pipeline = kernel;
    this.#step = step;
    this.#encoder.setBindGroup(0, operands);
    const z = blocks?.runs === "blocks" && blocksOf !== null ? blocksOf(blocks.window) : 1;
    this.#encoder.dispatchWorkgroups(x, Math.max(1, Math.ceil(rows / tile)), z);
  }
}
