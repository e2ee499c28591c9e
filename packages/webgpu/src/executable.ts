/**
 * A loaded program on a device. A step is one submission: what changes is written, all dispatches follow one another in one pass, and what was
 * asked for is copied to a buffer that is then read. Requests of more heads than are answered at once take further submissions.
 */
import {
  BitNetError,
  type BufferOutput,
  type Executable,
  type HeadRequest,
  type HeadResult,
  type LoadOptions,
  type MemoryReport,
  type OwnReports,
  type Program,
  pageTokens,
  type Step,
  type StepResult,
  validateStep,
} from "@bitnet.ts/core";
import { answer, answeredWants } from "./answers.ts";
import { type Device, usage } from "./device.ts";
import type { ReadyDispatch } from "./dispatch.ts";
import type { DeviceMemory } from "./memory.ts";
import type { ActivationBuffers, DevicePlan, HeadPlan } from "./plan.ts";
import { encodeRows, snapshot } from "./step-data.ts";
import { waitFor } from "./waiting.ts";

interface Loaded {
  program: Program;
  options: LoadOptions;
  memory: DeviceMemory;
  plan: DevicePlan;
  ready: { rows: readonly ReadyDispatch[]; head: readonly ReadyDispatch[] };
}

/** No failure. */
const none = 0xffffffff;
/** Where a page table first gets room for so many entries. */
const leastPages = 1024;

export class WebGpuExecutable implements Executable {
  readonly program: Program;
  readonly wants = answeredWants;
  readonly #options: LoadOptions;
  readonly #memory: DeviceMemory;
  readonly #device: Device;
  readonly #plan: DevicePlan;
  readonly #ready: Loaded["ready"];
  readonly #step: GPUBuffer;
  readonly #rows: GPUBuffer;
  readonly #failure: GPUBuffer;
  readonly #copied: GPUBuffer | null;
  readonly #countGroup: GPUBindGroup;
  #pages!: GPUBuffer;
  #rowsGroup!: GPUBindGroup;
  #readback: GPUBuffer | null = null;
  /** Resolves when everything asked for so far is done. Never rejects. */
  #tail: Promise<unknown> = Promise.resolve();
  #disposal: Promise<void> | undefined;

  private constructor({ program, options, memory, plan, ready }: Loaded) {
    this.program = program;
    const { kvType, nPages, maxRows } = options;
    this.#options = { kvType, nPages, maxRows };
    this.#memory = memory;
    this.#device = memory.device;
    this.#plan = plan;
    this.#ready = ready;
    this.#step = memory.buffer("step", 16, usage.uniform | usage.copyDst);
    this.#rows = memory.storage("rows", 16 * maxRows);
    this.#failure = memory.storage("failure", 16, usage.copyDst | usage.copySrc);
    const pageBytes = Math.max(0, ...plan.caches.map((cache) => cache.pageBytes));
    this.#copied =
      pageBytes === 0 ? null : memory.storage("copied page", pageBytes, usage.copyDst | usage.copySrc);
    this.#countGroup = this.#device.gpu.createBindGroup({
      layout: this.#device.countLayout,
      entries: [{ binding: 0, resource: { buffer: this.#step } }],
    });
    this.#bindPages(leastPages);
  }

  /** Buffers of the step come on top of those of the plan. */
  static create(loaded: Loaded): Promise<WebGpuExecutable> {
    return loaded.memory.reserving("the buffers of a step", () => new WebGpuExecutable(loaded));
  }

  async run(step: Step): Promise<StepResult> {
    this.#assertLive();
    validateStep(this.program, this.#options, step);
    const kept = snapshot(step);
    const result = this.#tail.then(() => {
      this.#assertLive();
      return this.#run(kept);
    });
    this.#tail = result.catch(() => {});
    return result;
  }

  /** The arena is the device's for as long as the program is loaded. */
  releasePages(pages: Int32Array): void {
    this.#assertLive();
    const { nPages } = this.#options;
    const wrong = pages.find((page) => page < 0 || page >= nPages);
    if (wrong !== undefined)
      throw new BitNetError("INVALID_ARGUMENT", `releasePages: page ${wrong} is not in 0…${nPages - 1}`);
  }

  memory(): MemoryReport {
    this.#assertLive();
    const kvBytesPerToken = this.#plan.caches.reduce(
      (sum, { pageBytes }) => sum + (2 * pageBytes) / pageTokens,
      0,
    );
    return { privateBytes: this.#memory.bytes, mappedBytes: 0, kvBytesPerToken };
  }

  reports(): OwnReports {
    return {};
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#tail.then(() => this.#memory.free());
    return this.#disposal;
  }

  async #run(step: Step): Promise<StepResult> {
    const { head } = this.#plan;
    const most = head?.most ?? 1;
    const heads: HeadResult[] = [];
    const first = step.heads.slice(0, most);
    const { outputs, bytes } = await this.#submit(step, first, true);
    const failed = new Uint32Array(bytes, 0, 1)[0] ?? none;
    if (failed !== none) throw this.#notFinite(failed & 0xffff, failed >>> 16);
    const values = outputs.map(({ read }) => read(bytes));
    if (head !== null) heads.push(...this.#answers(head, first, bytes));
    for (let at = most; at < step.heads.length && head !== null; at += most) {
      const requests = step.heads.slice(at, at + most);
      heads.push(...this.#answers(head, requests, (await this.#submit(step, requests, false)).bytes));
    }
    return { heads, outputs: values };
  }

  /**
   * Runs the operations on the rows, unless they have run, and the head for some requests.
   * @returns What comes back: the failure, logits, states, then the outputs, whose readers know their places.
   */
  async #submit(step: Step, requests: readonly HeadRequest[], isFirst: boolean) {
    this.#device.assertWell();
    const { gpu } = this.#device;
    const { head } = this.#plan;
    const nRows = step.tokens.length;
    if (isFirst) this.#write(step);
    const encoder = gpu.createCommandEncoder();
    if (isFirst) this.#copyPages(encoder, step.pageCopies ?? new Int32Array());
    const pass = encoder.beginComputePass();
    if (isFirst) for (const dispatch of this.#ready.rows) this.#dispatch(pass, dispatch, nRows);
    const hasLogits = requests.some(({ want }) => want.kind !== "state");
    if (head !== null && requests.length > 0) {
      gpu.queue.writeBuffer(
        head.asked,
        0,
        Uint32Array.from(requests, ({ row }) => row),
      );
      const [states, ...shards] = this.#ready.head;
      for (const dispatch of states ? [states, ...(hasLogits ? shards : [])] : [])
        this.#dispatch(pass, dispatch, requests.length);
    }
    pass.end();
    const copies: [from: GPUBuffer, bytes: number][] = [[this.#failure, 16]];
    if (head !== null && requests.length > 0) {
      if (hasLogits) copies.push([head.logits, 4 * head.vocabSize * requests.length]);
      if (requests.some(({ want }) => want.kind === "state"))
        copies.push([head.states, 4 * head.cols * requests.length]);
    }
    const outputs: { read: (bytes: ArrayBuffer) => BufferOutput }[] = [];
    let at = copies.reduce((sum, [, size]) => sum + size, 0);
    for (const buffer of isFirst ? (step.outputs ?? []) : []) {
      const from = at;
      const buffers = this.#plan.activations.get(buffer);
      const decl = this.program.buffers[buffer];
      if (buffers === undefined || decl?.class !== "activation") continue;
      copies.push([buffers.values, 4 * nRows * buffers.rowWords]);
      at += 4 * nRows * buffers.rowWords;
      if (buffers.scales) {
        copies.push([buffers.scales, 4 * nRows * buffers.groups]);
        at += 4 * nRows * buffers.groups;
      }
      const shape = { nRows, cols: decl.cols, from };
      outputs.push({ read: (bytes) => ({ buffer, ...readActivation(bytes, buffers, shape) }) });
    }
    const readback = this.#readbackOf(at);
    let to = 0;
    for (const [buffer, size] of copies) {
      encoder.copyBufferToBuffer(buffer, 0, readback, to, size);
      to += size;
    }
    gpu.queue.submit([encoder.finish()]);
    return { outputs, bytes: await this.#read(readback, at) };
  }

  async #read(readback: GPUBuffer, size: number): Promise<ArrayBuffer> {
    const { gpu } = this.#device;
    try {
      await waitFor(gpu, readback.mapAsync(1, 0, size));
    } catch (cause) {
      // What the device reported says more.
      await Promise.race([gpu.lost, Promise.resolve()]);
      this.#device.assertWell();
      const text = `webgpu: ${this.program.name}: the results of a step cannot be read`;
      throw new BitNetError("BACKEND_FAILED", text, { cause });
    }
    const bytes = readback.getMappedRange(0, size).slice(0);
    readback.unmap();
    this.#device.assertWell();
    return bytes;
  }

  #write(step: Step): void {
    const { queue } = this.#device.gpu;
    const { rows, pages } = encodeRows(step);
    if (4 * pages.length > this.#pages.size) this.#bindPages(2 * pages.length);
    queue.writeBuffer(this.#step, 0, Uint32Array.of(step.tokens.length, 0, 0, 0));
    queue.writeBuffer(this.#failure, 0, Uint32Array.of(none, 0, 0, 0));
    queue.writeBuffer(this.#rows, 0, rows);
    queue.writeBuffer(this.#pages, 0, pages);
    for (const { buffer, values } of step.inputs ?? []) {
      const target = this.#plan.activations.get(buffer)?.values;
      if (target) queue.writeBuffer(target, 0, values as Float32Array<ArrayBuffer>);
    }
  }

  /** Pairs of pages in order, by way of a page of its own: a buffer is not copied into itself. */
  #copyPages(encoder: GPUCommandEncoder, pairs: Int32Array): void {
    for (let i = 0; i < pairs.length && this.#copied !== null; i += 2) {
      for (const { keys, values, pageBytes } of this.#plan.caches) {
        for (const cache of [keys, values]) {
          encoder.copyBufferToBuffer(cache, (pairs[i] ?? 0) * pageBytes, this.#copied, 0, pageBytes);
          encoder.copyBufferToBuffer(this.#copied, 0, cache, (pairs[i + 1] ?? 0) * pageBytes, pageBytes);
        }
      }
    }
  }

  #dispatch(pass: GPUComputePassEncoder, ready: ReadyDispatch, nRows: number): void {
    pass.setPipeline(nRows > 1 ? ready.many : ready.one);
    pass.setBindGroup(0, ready.operands);
    pass.setBindGroup(1, ready.usesRows ? this.#rowsGroup : this.#countGroup);
    pass.dispatchWorkgroups(ready.x, nRows > 1 ? Math.ceil(nRows / ready.tile) : 1);
  }

  #answers(head: HeadPlan, requests: readonly HeadRequest[], bytes: ArrayBuffer): HeadResult[] {
    const hasLogits = requests.some(({ want }) => want.kind !== "state");
    const logitsAt = 16;
    const statesAt = logitsAt + (hasLogits ? 4 * head.vocabSize * requests.length : 0);
    return requests.map((request, i) => {
      if (request.want.kind === "state") {
        const state = new Float32Array(bytes, statesAt + 4 * head.cols * i, head.cols).slice();
        if (!state.every(Number.isFinite)) throw this.#headNotFinite(request.row);
        return {
          row: request.row,
          ids: new Int32Array(),
          logits: new Float32Array(),
          apartLogits: new Float32Array(),
          state,
        };
      }
      const logits = new Float32Array(bytes, logitsAt + 4 * head.vocabSize * i, head.vocabSize).slice();
      if (!logits.every(Number.isFinite)) throw this.#headNotFinite(request.row);
      return answer(request, logits);
    });
  }

  #bindPages(entries: number): void {
    this.#pages?.destroy();
    const { gpu } = this.#device;
    this.#pages = this.#memory.storage("pages", 4 * entries);
    const buffers = [this.#step, this.#rows, this.#pages, this.#failure];
    this.#rowsGroup = gpu.createBindGroup({
      layout: this.#device.rowsLayout,
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
  }

  #readbackOf(bytes: number): GPUBuffer {
    if (this.#readback === null || this.#readback.size < bytes) {
      this.#readback?.destroy();
      this.#readback = this.#memory.buffer(
        "readback",
        Math.ceil(bytes / 1024) * 1024,
        usage.mapRead | usage.copyDst,
      );
    }
    return this.#readback;
  }

  #notFinite(row: number, index: number): BitNetError {
    const op = this.program.ops[index];
    const text = `webgpu: ${this.program.name}: NaN or infinity in operation ${index} (${op?.op}), row ${row}; the model file may be corrupt`;
    return new BitNetError("NUMERIC_FAILURE", text, { details: { row, op: op?.op, index } });
  }

  #headNotFinite(row: number): BitNetError {
    const text = `webgpu: ${this.program.name}: NaN or infinity in the logits of row ${row}; the model file may be corrupt`;
    return new BitNetError("NUMERIC_FAILURE", text, { details: { row, op: "head" } });
  }

  #assertLive(): void {
    if (this.#disposal !== undefined)
      throw new BitNetError("DISPOSED", `webgpu: ${this.program.name} was disposed; load it again`);
  }
}

function readActivation(
  bytes: ArrayBuffer,
  { scales, rowWords, groups }: ActivationBuffers,
  { nRows, cols, from }: { nRows: number; cols: number; from: number },
): Omit<BufferOutput, "buffer"> {
  if (scales === undefined) return { values: new Float32Array(bytes, from, nRows * cols).slice() };
  const padded = new Int8Array(bytes, from, 4 * nRows * rowWords);
  const values = new Int8Array(nRows * cols);
  for (let row = 0; row < nRows; row++)
    values.set(padded.subarray(4 * row * rowWords, 4 * row * rowWords + cols), row * cols);
  const scalesAt = from + 4 * nRows * rowWords;
  return { quantised: { values, scales: new Float32Array(bytes, scalesAt, nRows * groups).slice() } };
}
