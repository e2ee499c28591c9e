/** What all kernels are told of a step: its rows with their pages behind them, how many there are, and where they report that a row is not finite. */
import type { Step } from "@bitnet.ts/core";
import { usage } from "./device.ts";
import type { DeviceMemory } from "./memory.ts";
import { encodeRows } from "./step-data.ts";

/** No failure. */
export const noFailure = 0xffffffff;
/** Where a page table first gets room for so many entries. */
const leastPages = 1024;

/** Of the uniform. */
interface StepNumbers {
  nRows: number;
  nRequests: number;
  nSplits: number;
}

export class StepBuffers {
  /** Bound where rows are not read. */
  readonly countGroup: GPUBindGroup;
  readonly failure: GPUBuffer;
  readonly #memory: DeviceMemory;
  readonly #maxRows: number;
  readonly #step: GPUBuffer;
  #rows!: GPUBuffer;
  #rowsGroup!: GPUBindGroup;

  constructor(memory: DeviceMemory, maxRows: number) {
    this.#memory = memory;
    this.#maxRows = maxRows;
    this.#step = memory.buffer("step", 16, usage.uniform | usage.copyDst);
    this.failure = memory.storage("failure", 16, usage.copyDst | usage.copySrc);
    const { gpu, countLayout } = memory.device;
    this.countGroup = gpu.createBindGroup({
      layout: countLayout,
      entries: [{ binding: 0, resource: { buffer: this.#step } }],
    });
    this.#makeRows(leastPages);
  }

  /** Other ones once a step had more pages than there was room for. */
  get rows(): GPUBuffer {
    return this.#rows;
  }

  get rowsGroup(): GPUBindGroup {
    return this.#rowsGroup;
  }

  writeRows(step: Step): void {
    const { queue } = this.#memory.device.gpu;
    const { rows, pages } = encodeRows(step);
    if (4 * (this.#pagesAt + pages.length) > this.#rows.size) this.#makeRows(2 * pages.length);
    queue.writeBuffer(this.failure, 0, Uint32Array.of(noFailure, 0, 0, 0));
    queue.writeBuffer(this.#rows, 0, rows);
    if (pages.length > 0) queue.writeBuffer(this.#rows, 4 * this.#pagesAt, pages);
  }

  writeNumbers({ nRows, nRequests, nSplits }: StepNumbers): void {
    const { queue } = this.#memory.device.gpu;
    queue.writeBuffer(this.#step, 0, Uint32Array.of(nRows, this.#pagesAt, nSplits, nRequests));
  }

  get #pagesAt(): number {
    return 4 * this.#maxRows;
  }

  #makeRows(nPages: number): void {
    this.#rows?.destroy();
    const { gpu, rowsLayout } = this.#memory.device;
    this.#rows = this.#memory.storage("rows", 4 * (this.#pagesAt + nPages));
    const buffers = [this.#step, this.#rows, this.failure];
    this.#rowsGroup = gpu.createBindGroup({
      layout: rowsLayout,
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
  }
}
