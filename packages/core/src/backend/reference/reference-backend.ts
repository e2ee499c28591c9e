/**
 * The reference backend: runs Programs in plain TypeScript, anywhere, and is the judge of every other backend. It reads
 * weights into memory as they are packed and gives the event loop a turn between operations. Long, because
 * every operation has its case here, beside what they all share: the buffers of a step.
 */
import { type ByteSource, bytesSource } from "../../base/byte-source.ts";
import { BitNetError, throwIfAborted, unreachable } from "../../base/errors.ts";
import { computeRowBytes } from "../../packing/compute-layout.ts";
import { denseByteLength, widenRows } from "../../packing/dense.ts";
import {
  type Backend,
  type Executable,
  type LoadOptions,
  type MemoryReport,
  type OwnReports,
  pageTokens,
} from "../backend.ts";
import { fitProgram } from "../offers.ts";
import { type Op, type OpName, type OpOf, opNames } from "../operations.ts";
import type { BufferId, DenseTensor, Program, TernaryTensor } from "../program.ts";
import type { BufferOutput, HeadResult, Step, StepResult } from "../step.ts";
import { validateStep } from "../validate.ts";
import { validateProgram } from "../validate-program.ts";
import { attend, KvLayer } from "./attention.ts";
import { answerHead, answerState, headWants } from "./head.ts";
import {
  absMaxBits,
  activate,
  add,
  dot,
  gatedActivation,
  isFiniteBits,
  multiply,
  quantise,
  rmsNorm,
  rope,
} from "./rows.ts";
import { bitLinear, type QuantisedRows } from "./ternary.ts";

export interface ReferenceOptions {
  /** The operations that it offers; all by default. Others are run as their definitions. */
  operations?: readonly OpName[];
  /**
   * Whether activations are quantised, as every model here expects ("int8", default), or stay f32, for measuring what quantising them costs. Then
   * nothing of the numerics contract holds for products, and a program's q8 buffers hold floats.
   */
  activations?: "int8" | "f32";
  /** Opens `file` sources; without it a program may only name sources in memory. */
  openFile?: (path: string) => Promise<ByteSource>;
  /** Called behind every operation of a step; may change what the operation has written, which those after it then read. */
  observe?: (op: Op, view: StepView) => void;
}

/** The buffers of a step in progress, and weights widened to f32. */
export interface StepView {
  readonly nRows: number;
  f32(buffer: BufferId): Float32Array;
  q8(buffer: BufferId): QuantisedRows;
  matrix(buffer: BufferId): { values: Float32Array; rows: number; cols: number };
}

/** A backend that needs nothing but JavaScript. */
export function createReferenceBackend(options: ReferenceOptions = {}): Backend {
  const { operations = opNames } = options;
  return {
    name: "reference",
    isa: "scalar",
    threads: 1,
    rejected: [],
    operations,
    async load(program, loadOptions) {
      validateProgram(program);
      const fitted = fitProgram(program, "reference", operations);
      const weights = await readWeights(fitted, options, loadOptions);
      return new ReferenceExecutable(fitted, loadOptions, weights, options);
    },
  };
}

/** Bytes of every weight buffer, by buffer id. */
async function readWeights(
  program: Program,
  { openFile }: ReferenceOptions,
  { onProgress, signal }: LoadOptions,
): Promise<Map<BufferId, Uint8Array>> {
  const opened: ByteSource[] = [];
  try {
    for (const source of program.sources) {
      if (source.kind === "bytes") opened.push(bytesSource(source.bytes, source.name));
      else if (source.kind === "stream") opened.push({ ...source, close: async () => {} });
      else if (openFile) opened.push(await openFile(source.path));
      else
        throw new BitNetError(
          "BACKEND_FAILED",
          `${source.path}: this backend was given no way to open files`,
        );
    }
    const weights = new Map<BufferId, Uint8Array>();
    for (const [id, buffer] of program.buffers.entries()) {
      throwIfAborted(signal);
      if (buffer.class !== "weight") continue;
      const { tensor } = buffer;
      const source = opened[tensor.source];
      if (source) weights.set(id, await source.read(tensor.offset, tensorByteLength(tensor)));
      onProgress?.((id + 1) / program.buffers.length);
    }
    return weights;
  } finally {
    await Promise.all(opened.map((source) => source.close()));
  }
}

function tensorByteLength(tensor: TernaryTensor | DenseTensor): number {
  return tensor.kind === "ternary"
    ? tensor.rows * computeRowBytes(tensor.cols)
    : denseByteLength(tensor.type, tensor.rows * tensor.cols);
}

class ReferenceExecutable implements Executable {
  readonly program: Program;
  readonly wants = headWants;
  private readonly options: LoadOptions;
  private weights: Map<BufferId, Uint8Array>;
  private readonly kv = new Map<BufferId, KvLayer>();
  private queue: Promise<unknown> = Promise.resolve();
  private isDisposed = false;
  readonly keepsFloats: boolean;
  readonly observe: ReferenceOptions["observe"];

  constructor(
    program: Program,
    options: LoadOptions,
    weights: Map<BufferId, Uint8Array>,
    { activations, observe }: ReferenceOptions,
  ) {
    this.keepsFloats = activations === "f32";
    this.observe = observe;
    this.program = program;
    this.options = options;
    this.weights = weights;
    for (const [id, buffer] of program.buffers.entries())
      if (buffer.class === "kv") this.kv.set(id, new KvLayer(buffer, options.kvType));
  }

  async run(step: Step): Promise<StepResult> {
    this.checkAlive();
    validateStep(this.program, this.options, step);
    const result = this.queue.then(() => {
      this.checkAlive();
      return new StepRun(this, this.weights, this.kv, step).run();
    });
    this.queue = result.catch(() => {});
    return result;
  }

  releasePages(pages: Int32Array): void {
    this.checkAlive();
    for (const layer of this.kv.values()) for (const page of pages) layer.release(page);
  }

  memory(): MemoryReport {
    this.checkAlive();
    let privateBytes = 0;
    let kvBytesPerToken = 0;
    for (const bytes of this.weights.values()) privateBytes += bytes.byteLength;
    for (const layer of this.kv.values()) {
      const floats = 2 * layer.shape.nKvHeads * layer.shape.headDim;
      kvBytesPerToken += floats * Float32Array.BYTES_PER_ELEMENT;
      privateBytes += layer.nPages * pageTokens * floats * Float32Array.BYTES_PER_ELEMENT;
    }
    return { privateBytes, mappedBytes: 0, kvBytesPerToken };
  }

  reports(): OwnReports {
    return {};
  }

  async dispose(): Promise<void> {
    this.isDisposed = true;
    await this.queue;
    this.weights = new Map();
    this.kv.clear();
  }

  private checkAlive(): void {
    if (this.isDisposed) throw new BitNetError("DISPOSED", "this executable has been disposed");
  }
}

/** One step in progress: the activations and the operations that change them. */
class StepRun implements StepView {
  private readonly program: Program;
  private readonly observe: ReferenceOptions["observe"];
  private readonly weights: Map<BufferId, Uint8Array>;
  private readonly kv: Map<BufferId, KvLayer>;
  private readonly step: Step;
  readonly nRows: number;
  private readonly floats = new Map<BufferId, Float32Array>();
  private readonly quantised = new Map<BufferId, QuantisedRows>();
  private heads: HeadResult[] = [];

  constructor(
    {
      program,
      keepsFloats,
      observe,
    }: { program: Program; keepsFloats: boolean; observe: ReferenceOptions["observe"] },
    weights: Map<BufferId, Uint8Array>,
    kv: Map<BufferId, KvLayer>,
    step: Step,
  ) {
    this.program = program;
    this.observe = observe;
    this.weights = weights;
    this.kv = kv;
    this.step = step;
    this.nRows = step.tokens.length;
    for (const [id, buffer] of program.buffers.entries()) {
      if (buffer.class !== "activation") continue;
      const size = this.nRows * buffer.cols;
      if (buffer.type === "f32") this.floats.set(id, new Float32Array(size));
      else this.quantised.set(id, emptyRows(this.nRows, buffer, keepsFloats));
    }
  }

  async run(): Promise<StepResult> {
    for (const { buffer, values } of this.step.inputs ?? []) this.f32(buffer).set(values);
    const copies = this.step.pageCopies ?? new Int32Array();
    for (let i = 0; i < copies.length; i += 2)
      for (const layer of this.kv.values()) layer.copy(copies[i] ?? -1, copies[i + 1] ?? -1);
    let sliceStart = performance.now();
    for (const op of this.program.ops) {
      this.execute(op);
      this.observe?.(op, this);
      if (performance.now() - sliceStart > 8) {
        await new Promise((resolve) => setTimeout(resolve));
        sliceStart = performance.now();
      }
    }
    return { heads: this.heads, outputs: (this.step.outputs ?? []).map((buffer) => this.output(buffer)) };
  }

  private execute(op: Op): void {
    switch (op.op) {
      case "embed": {
        const table = this.dense(op.table);
        for (let i = 0; i < this.nRows; i++)
          widenRows(table.type, table.bytes, table.cols, this.step.tokens[i] ?? 0, 1, this.row(op.out, i));
        return;
      }
      case "rmsNormQuant":
        this.rmsNormQuant(op);
        return;
      case "rmsNorm":
        this.rmsNorm(op);
        return;
      case "quantise":
        for (let i = 0; i < this.nRows; i++) this.quantiseRow(this.row(op.x, i), op.out, i, "quantise");
        return;
      case "bitLinear":
        for (const [i, id] of op.weights.entries()) {
          const tensor = this.ternary(id);
          bitLinear(tensor, this.bytes(id), this.q8(op.x), this.nRows, this.f32(op.outs[i] ?? -1));
        }
        return;
      case "ropeKv": {
        const { nKvHeads } = this.layer(op.kv).shape;
        this.rope({ op: "rope", x: op.q, table: op.table, nHeads: op.nHeads, pairing: op.pairing });
        this.rope({ op: "rope", x: op.k, table: op.table, nHeads: nKvHeads, pairing: op.pairing });
        this.writeKv(op);
        return;
      }
      case "rope":
        this.rope(op);
        return;
      case "writeKv":
        this.writeKv(op);
        return;
      case "attention": {
        const layer = this.layer(op.kv);
        for (let i = 0; i < this.nRows; i++) {
          attend(layer, {
            q: this.row(op.q, i),
            out: this.row(op.out, i),
            table: this.table(i),
            position: this.step.positions[i] ?? 0,
            nHeads: op.nHeads,
            scale: Math.fround(op.scale),
            window: op.window,
          });
        }
        return;
      }
      case "gatedActivation":
        gatedActivation(op.fn, this.f32(op.gate), this.f32(op.up), this.f32(op.out));
        return;
      case "activation":
        activate(op.fn, this.f32(op.x), this.f32(op.out));
        return;
      case "multiply":
        multiply(this.f32(op.x), this.f32(op.y), this.f32(op.out));
        return;
      case "bias": {
        const bias = this.vector(op.bias);
        for (let i = 0; i < this.nRows; i++) add(this.row(op.x, i), bias);
        return;
      }
      case "lora":
        this.lora(op);
        return;
      case "scale": {
        const x = this.f32(op.x);
        const factor = Math.fround(op.factor);
        for (let i = 0; i < x.length; i++) x[i] = (x[i] as number) * factor;
        return;
      }
      case "residual":
        add(this.f32(op.x), this.f32(op.y));
        return;
      case "head":
        this.heads = this.step.heads.map((request) => {
          const state = this.state(op, request.row);
          if (request.want.kind !== "state") return answerHead(request, this.logits(op, request.row, state));
          if (!isFiniteBits(absMaxBits(state))) throw notFinite(request.row, "head");
          return answerState(request.row, state);
        });
        return;
      default:
        unreachable(op, "reference backend");
    }
  }

  private rmsNormQuant({ x, weight, eps, out }: OpOf<"rmsNormQuant">): void {
    const norm = this.vector(weight);
    const normed = new Float32Array(norm.length);
    for (let i = 0; i < this.nRows; i++) {
      rmsNorm(this.row(x, i), norm, eps, normed);
      this.quantiseRow(normed, out, i, "rmsNormQuant");
    }
  }

  private quantiseRow(x: Float32Array, out: BufferId, i: number, op: Op["op"]): void {
    const { values, scales } = this.q8(out);
    if (values instanceof Float32Array) {
      if (!isFiniteBits(absMaxBits(x))) throw notFinite(i, op);
      values.set(x, i * x.length);
      return;
    }
    const perRow = scales.length / this.nRows;
    const size = perRow === 1 ? x.length : 128;
    for (let g = 0; g < perRow; g++) {
      const [from, end] = [g * size, Math.min(x.length, (g + 1) * size)];
      const scale = quantise(x.subarray(from, end), values.subarray(i * x.length + from, i * x.length + end));
      if (scale === null) throw notFinite(i, op);
      scales[i * perRow + g] = scale;
    }
  }

  private rmsNorm({ weight, x, out, eps }: OpOf<"rmsNorm">): void {
    const norm = this.vector(weight);
    const from = this.f32(x);
    const to = this.f32(out);
    for (let at = 0; at < from.length; at += norm.length)
      rmsNorm(from.subarray(at, at + norm.length), norm, eps, to.subarray(at, at + norm.length));
  }

  private lora({ x, a, b, y, scale, adapter }: OpOf<"lora">): void {
    const [down, up] = [this.matrix(a), this.matrix(b)];
    const factor = Math.fround(scale);
    const hidden = new Float32Array(down.rows);
    for (let i = 0; i < this.nRows; i++) {
      if ((this.step.adapters?.[i] ?? -1) !== adapter) continue;
      const [from, to] = [this.row(x, i), this.row(y, i)];
      for (let r = 0; r < down.rows; r++) hidden[r] = dot(down.values, r * down.cols, from, 0, down.cols);
      for (let r = 0; r < up.rows; r++) {
        const sum = dot(up.values, r * up.cols, hidden, 0, up.cols);
        to[r] = (to[r] as number) + Math.fround(sum * factor);
      }
    }
  }

  private rope({ x, table: tableId, nHeads, pairing }: OpOf<"rope">): void {
    const table = this.dense(tableId);
    const headDim = table.cols;
    const angles = new Float32Array(headDim);
    for (let i = 0; i < this.nRows; i++) {
      widenRows(table.type, table.bytes, headDim, this.step.positions[i] ?? 0, 1, angles);
      for (let head = 0; head < nHeads; head++)
        rope(this.row(x, i), head * headDim, angles, headDim, pairing);
    }
  }

  private writeKv({ k, v, kv }: Pick<OpOf<"writeKv">, "k" | "v" | "kv">): void {
    const layer = this.layer(kv);
    for (let i = 0; i < this.nRows; i++)
      layer.write(this.table(i), this.step.positions[i] ?? 0, this.row(k, i), this.row(v, i));
  }

  /** What the table is multiplied with. */
  private state(op: OpOf<"head">, row: number): Float32Array {
    const weight = this.vector(op.weight);
    const x = new Float32Array(weight.length);
    rmsNorm(this.row(op.x, row), weight, op.eps, x);
    return x;
  }

  private logits(op: OpOf<"head">, row: number, x: Float32Array): Float32Array {
    const table = this.dense(op.table);
    const logits = new Float32Array(table.rows);
    const weightRow = new Float32Array(table.cols);
    for (let id = 0; id < table.rows; id++) {
      widenRows(table.type, table.bytes, table.cols, id, 1, weightRow);
      logits[id] = dot(weightRow, 0, x, 0, table.cols);
    }
    if (!isFiniteBits(absMaxBits(logits))) throw notFinite(row, "head");
    return logits;
  }

  private output(buffer: BufferId): BufferOutput {
    const values = this.floats.get(buffer);
    if (values) return { buffer, values };
    const { values: quantised, scales } = this.q8(buffer);
    if (quantised instanceof Float32Array) return { buffer, values: quantised };
    return { buffer, quantised: { values: quantised, scales } };
  }

  private row(buffer: BufferId, i: number): Float32Array {
    const values = this.f32(buffer);
    const cols = values.length / this.nRows;
    return values.subarray(i * cols, (i + 1) * cols);
  }

  private table(row: number): Int32Array {
    return this.step.pageTables[this.step.sequences[row] ?? -1] ?? new Int32Array();
  }

  f32(buffer: BufferId): Float32Array {
    return this.floats.get(buffer) ?? missing(buffer);
  }

  q8(buffer: BufferId): QuantisedRows {
    return this.quantised.get(buffer) ?? missing(buffer);
  }

  private layer(buffer: BufferId): KvLayer {
    return this.kv.get(buffer) ?? missing(buffer);
  }

  private bytes(buffer: BufferId): Uint8Array {
    return this.weights.get(buffer) ?? missing(buffer);
  }

  private dense(buffer: BufferId): DenseTensor & { bytes: Uint8Array } {
    const decl = this.program.buffers[buffer];
    return decl?.class === "weight" && decl.tensor.kind === "dense"
      ? { ...decl.tensor, bytes: this.bytes(buffer) }
      : missing(buffer);
  }

  private ternary(buffer: BufferId): TernaryTensor {
    const decl = this.program.buffers[buffer];
    return decl?.class === "weight" && decl.tensor.kind === "ternary" ? decl.tensor : missing(buffer);
  }

  matrix(buffer: BufferId): { values: Float32Array; rows: number; cols: number } {
    const { type, bytes, rows, cols } = this.dense(buffer);
    const values = new Float32Array(rows * cols);
    widenRows(type, bytes, cols, 0, rows, values);
    return { values, rows, cols };
  }

  private vector(buffer: BufferId): Float32Array {
    const table = this.dense(buffer);
    const values = new Float32Array(table.cols);
    widenRows(table.type, table.bytes, table.cols, 0, 1, values);
    return values;
  }
}

function emptyRows(
  nRows: number,
  { cols, groupSize }: { cols: number; groupSize?: number },
  keepsFloats: boolean,
): QuantisedRows {
  const groups = groupSize === undefined ? 1 : Math.ceil(cols / groupSize);
  return {
    values: keepsFloats ? new Float32Array(nRows * cols) : new Int8Array(nRows * cols),
    scales: new Float32Array(nRows * groups),
    isGrouped: groupSize !== undefined,
  };
}

function missing(buffer: BufferId): never {
  throw new BitNetError("INTERNAL", `reference backend: buffer ${buffer} is not what its operation expects`);
}

function notFinite(row: number, op: string): BitNetError {
  return new BitNetError(
    "NUMERIC_FAILURE",
    `${op}: row ${row} holds NaN or infinity; the model file may be corrupt`,
    {
      details: { row, op },
    },
  );
}
