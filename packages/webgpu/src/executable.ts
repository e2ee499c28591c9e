/**
 * A loaded program on a device. A step is one submission: what changes is written, all dispatches follow one another in one pass, and what was
 * asked for is copied to a buffer that is then read. Requests of more heads than are answered at once take further submissions; a chain of steps, whose
 * tokens the device hands from one to the next, is read once.
 */
import {
  BitNetError,
  type BufferOutput,
  type Executable,
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
import { answeredWants } from "./answers.ts";
import { type Device, usage } from "./device.ts";
import type { ReadyDispatch } from "./dispatch.ts";
import { mostChained } from "./draw-plan.ts";
import { type Copy, HeadRequests } from "./head-requests.ts";
import type { DeviceMemory } from "./memory.ts";
import { type AskedOutput, askedOutput } from "./outputs.ts";
import { Pass } from "./pass.ts";
import { type DevicePlan, mostSplitRows } from "./plan.ts";
import { Readback, sizeOf } from "./readback.ts";
import { noFailure, StepBuffers } from "./step-buffers.ts";
import { advanced, blocksOf, snapshot } from "./step-data.ts";

export interface ReadyHead {
  states: ReadyDispatch;
  logits: readonly ReadyDispatch[];
  best: ReadyDispatch;
  pick: ReadyDispatch;
  next: ReadyNext;
  /** Compiled when they are first asked for. */
  draws(): Promise<ReadyDraws>;
}

export interface ReadyDraws {
  scores: ReadyDispatch;
  weights: ReadyDispatch;
  next: ReadyNext;
}

/** Gives tokens to the rows of the next step, which are bound behind `buffers`: they move when they need more room. */
export interface ReadyNext {
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
  buffers: readonly GPUBuffer[];
}

interface Loaded {
  program: Program;
  options: LoadOptions;
  memory: DeviceMemory;
  plan: DevicePlan;
  rows: readonly ReadyDispatch[];
  head: ReadyHead | null;
}

/** Of what comes back: the failure stands first. */
const failureBytes = 16;

export class WebGpuExecutable implements Executable {
  readonly program: Program;
  readonly wants = answeredWants;
  readonly mostChained: number;
  readonly #options: LoadOptions;
  readonly #memory: DeviceMemory;
  readonly #device: Device;
  readonly #plan: DevicePlan;
  readonly #rows: readonly ReadyDispatch[];
  readonly #head: ReadyHead | null;
  readonly #windows: readonly number[];
  readonly #step: StepBuffers;
  readonly #copied: GPUBuffer | null;
  readonly #readback: Readback;
  /** For the rows as they lie. */
  readonly #nextGroups = new Map<ReadyNext, { rows: GPUBuffer; group: GPUBindGroup }>();
  /** Resolves when everything asked for so far is done. Never rejects. */
  #tail: Promise<unknown> = Promise.resolve();
  #disposal: Promise<void> | undefined;

  private constructor({ program, options, memory, plan, rows, head }: Loaded) {
    this.program = program;
    const { kvType, nPages, maxRows } = options;
    this.#options = { kvType, nPages, maxRows };
    this.#memory = memory;
    this.#device = memory.device;
    this.#plan = plan;
    this.#rows = rows;
    this.#head = head;
    this.#windows = [...new Set(rows.flatMap(({ blocks }) => (blocks ? [blocks.window] : [])))];
    this.mostChained = head !== null && program.ops.some(({ op }) => op === "embed") ? mostChained : 1;
    this.#step = new StepBuffers(memory, maxRows);
    this.#readback = new Readback(memory, program.name);
    const pageBytes = Math.max(0, ...plan.caches.map((cache) => cache.pageBytes));
    this.#copied =
      pageBytes === 0 ? null : memory.storage("copied page", pageBytes, usage.copyDst | usage.copySrc);
  }

  /** Buffers of the step come on top of those of the plan. */
  static create(loaded: Loaded): Promise<WebGpuExecutable> {
    return loaded.memory.reserving("the buffers of a step", () => new WebGpuExecutable(loaded));
  }

  run(step: Step): Promise<StepResult> {
    return this.#inTurn(step, (kept) => this.#run(kept));
  }

  runChain(step: Step, count: number): Promise<StepResult[]> {
    return this.#inTurn(step, async (kept) => {
      const n = this.#mostSteps(kept, Math.min(count, this.mostChained));
      if (n > 1) validateStep(this.program, this.#options, advanced(kept, n - 1));
      const chained = n > 1 ? await this.#chain(kept, n) : null;
      // Where a step of the chain fails, what stands before it counts.
      return chained ?? [await this.#run(kept)];
    });
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

  async #inTurn<T>(step: Step, task: (kept: Step) => Promise<T>): Promise<T> {
    this.#assertLive();
    validateStep(this.program, this.#options, step);
    const kept = snapshot(step);
    const result = this.#tail.then(() => {
      this.#assertLive();
      return task(kept);
    });
    this.#tail = result.catch(() => {});
    return result;
  }

  async #run(step: Step): Promise<StepResult> {
    const most = this.#plan.head?.most ?? 1;
    const heads: HeadResult[] = [];
    const outputs: BufferOutput[] = [];
    for (let at = 0; at === 0 || at < step.heads.length; at += most) {
      const requests = this.#plan.head && new HeadRequests(this.#plan.head, step.heads.slice(at, at + most));
      const draws = await this.#drawsOf(requests);
      const asked = this.#outputs(at === 0 ? step : { ...step, outputs: [] });
      const beforeOutputs = [this.#failureCopy, ...(requests?.copies() ?? [])];
      const copies = [...beforeOutputs, ...asked.flatMap((each) => each.copies)];
      this.#device.assertWell();
      if (at === 0) this.#write(step);
      requests?.write(this.#device.gpu.queue);
      const nRequests = Math.min(most, step.heads.length - at);
      this.#submit(step, { requests, nRequests, draws, runsRows: at === 0, copies, to: 0 });
      const bytes = await this.#readback.read(sizeOf(copies));
      if (at === 0) this.#assertFinite(bytes);
      if (requests) heads.push(...(await this.#answers(requests, bytes)));
      let place = sizeOf(beforeOutputs);
      for (const output of asked) {
        outputs.push(output.read(bytes, place));
        place += sizeOf(output.copies);
      }
    }
    return { heads, outputs };
  }

  async #drawsOf(requests: HeadRequests | null): Promise<ReadyDraws | null> {
    return requests?.isDrawn && this.#head !== null ? this.#head.draws() : null;
  }

  /** Reads all logits of draws that the device has left open: they lie there until the next step. */
  async #answers(requests: HeadRequests, bytes: ArrayBuffer): Promise<HeadResult[]> {
    const open = requests.open(bytes, failureBytes);
    const logits = new Map<number, Float32Array>();
    if (open.length > 0) {
      const { gpu } = this.#device;
      const copies = open.map(({ copy }) => copy);
      const encoder = gpu.createCommandEncoder();
      this.#readback.encode(encoder, copies, { to: 0, total: sizeOf(copies) });
      gpu.queue.submit([encoder.finish()]);
      const found = await this.#readback.read(sizeOf(copies));
      let at = 0;
      for (const { request, copy } of open) {
        logits.set(request, new Float32Array(found, at, copy.bytes / 4));
        at += copy.bytes;
      }
    }
    return requests.answers(bytes, failureBytes, { failureOf: (row) => this.#headNotFinite(row), logits });
  }

  /** Steps, at most `most`, whose tokens the device can hand from one to the next: nothing else may be asked for. */
  #mostSteps({ tokens, heads, inputs = [], outputs = [] }: Step, most: number): number {
    const { head } = this.#plan;
    if (most < 2 || head === null || heads.length > head.most || inputs.length + outputs.length > 0) return 1;
    return heads.length === tokens.length ? new HeadRequests(head, heads, true).mostSteps(most) : 1;
  }

  /** @returns The steps before the first that met NaN or infinity or left a draw open; null where that is the first. */
  async #chain(step: Step, count: number): Promise<StepResult[] | null> {
    const { head } = this.#plan;
    if (head === null) return null;
    this.#device.assertWell();
    const requests = new HeadRequests(head, step.heads, true);
    const copies = requests.copies();
    const bytesOfOne = sizeOf(copies);
    const draws = await this.#drawsOf(requests);
    this.#write(step);
    requests.write(this.#device.gpu.queue);
    for (let i = 0; i < count; i++) {
      this.#submit(i === 0 ? step : { ...advanced(step, i), pageCopies: new Int32Array() }, {
        ...{ requests, nRequests: step.heads.length, draws, runsRows: true, isFollowed: i + 1 < count },
        copies: i + 1 < count ? copies : [...copies, this.#failureCopy],
        to: i * bytesOfOne,
        total: count * bytesOfOne + failureBytes,
      });
    }
    const bytes = await this.#readback.read(count * bytesOfOne + failureBytes);
    if (new Uint32Array(bytes, count * bytesOfOne, 1)[0] !== noFailure) return null;
    const results: StepResult[] = [];
    const failureOf = (row: number) => this.#headNotFinite(row);
    for (let i = 0; i < count && requests.open(bytes, i * bytesOfOne).length === 0; i++) {
      try {
        const heads = requests.answers(bytes, i * bytesOfOne, { failureOf, logits: new Map() });
        results.push({ heads, outputs: [] });
      } catch {
        break;
      }
    }
    return results.length > 0 ? results : null;
  }

  /** Encodes and submits one pass, and the copies of what it gives to the readback, from `to` on. */
  #submit(
    step: Step,
    work: {
      requests: HeadRequests | null;
      nRequests: number;
      draws: ReadyDraws | null;
      runsRows: boolean;
      isFollowed?: boolean;
      copies: readonly Copy[];
      to: number;
      total?: number;
    },
  ): void {
    const { gpu } = this.#device;
    const { requests, nRequests, draws, runsRows, copies } = work;
    const nRows = step.tokens.length;
    const nSplits = this.#splitsOf(step);
    this.#step.writeNumbers({ nRows, nRequests, nSplits });
    const encoder = gpu.createCommandEncoder();
    if (runsRows) this.#copyPages(encoder, step.pageCopies ?? new Int32Array());
    const computing = encoder.beginComputePass();
    const pass = new Pass(computing, { rows: this.#step.rowsGroup, count: this.#step.countGroup });
    const ofRows = { rows: nRows, blocksOf: nSplits > 1 ? (window: number) => blocksOf(step, window) : null };
    if (runsRows) for (const dispatch of this.#rows) pass.dispatch(dispatch, ofRows);
    if (this.#head !== null && requests !== null && nRequests > 0) {
      const extent = { rows: nRequests, blocksOf: null };
      const { states, logits, best, pick } = this.#head;
      pass.dispatch(states, extent);
      if (requests.hasLogits) for (const shard of logits) pass.dispatch(shard, extent);
      if (requests.isRanked) pass.dispatch(best, extent);
      if (draws !== null) {
        pass.dispatch(draws.scores, extent);
        pass.dispatch(draws.weights, extent);
      }
      if (requests.hasPicks) pass.dispatch(pick, extent);
    }
    if (draws !== null) this.#takeTokens(computing, draws.next, nRequests);
    else if (this.#head !== null && work.isFollowed) this.#takeTokens(computing, this.#head.next, nRequests);
    computing.end();
    this.#readback.encode(encoder, copies, { to: work.to, total: work.total ?? sizeOf(copies) });
    gpu.queue.submit([encoder.finish()]);
  }

  /** What was ranked first, or drawn, becomes the tokens of their rows. */
  #takeTokens(pass: GPUComputePassEncoder, next: ReadyNext, nRequests: number): void {
    const { rows, countGroup } = this.#step;
    let known = this.#nextGroups.get(next);
    if (known?.rows !== rows) {
      const entries = [...next.buffers, rows].map((buffer, binding) => ({ binding, resource: { buffer } }));
      known = { rows, group: this.#device.gpu.createBindGroup({ layout: next.layout, entries }) };
      this.#nextGroups.set(next, known);
    }
    pass.setPipeline(next.pipeline);
    pass.setBindGroup(0, known.group);
    pass.setBindGroup(1, countGroup);
    pass.dispatchWorkgroups(1, nRequests);
  }

  /** Blocks of attention that are computed apart; 1: none, each row's are gone through in one go. */
  #splitsOf(step: Step): number {
    const nSplits = this.#windows.reduce((most, window) => Math.max(most, blocksOf(step, window)), 1);
    const nRows = step.tokens.length;
    return nRows <= mostSplitRows && nRows * nSplits <= this.#plan.mostBlocks ? nSplits : 1;
  }

  #write(step: Step): void {
    this.#step.writeRows(step);
    for (const { buffer, values } of step.inputs ?? []) {
      const target = this.#plan.activations.get(buffer)?.values;
      if (target) this.#device.gpu.queue.writeBuffer(target, 0, values as Float32Array<ArrayBuffer>);
    }
  }

  get #failureCopy(): Copy {
    return { buffer: this.#step.failure, from: 0, bytes: failureBytes };
  }

  /** The activations that a step asks for, where they lie. */
  #outputs({ outputs = [], tokens }: Step): AskedOutput[] {
    return outputs.flatMap((buffer): AskedOutput[] => {
      const buffers = this.#plan.activations.get(buffer);
      const decl = this.program.buffers[buffer];
      return buffers === undefined || decl?.class !== "activation"
        ? []
        : [askedOutput(buffer, buffers, { nRows: tokens.length, cols: decl.cols })];
    });
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

  #assertFinite(bytes: ArrayBuffer): void {
    const failed = new Uint32Array(bytes, 0, 1)[0] ?? noFailure;
    if (failed === noFailure) return;
    const [index, row] = [failed >>> 16, failed & 0xffff];
    const op = this.program.ops[index];
    const text = `webgpu: ${this.program.name}: NaN or infinity in operation ${index} (${op?.op}), row ${row}; the model file may be corrupt`;
    throw new BitNetError("NUMERIC_FAILURE", text, { details: { row, op: op?.op, index } });
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
