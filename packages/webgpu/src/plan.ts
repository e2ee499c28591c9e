/** A Program as dispatches over buffers of the device: which kernel runs each operation, with which parameters and operands. */
import {
  type BufferId,
  type KvType,
  type LoadOptions,
  type Op,
  type OpOf,
  type Program,
  pageTokens,
  unreachable,
} from "@bitnet.ts/core";
import { usage } from "./device.ts";
import type { Dispatch } from "./dispatch.ts";
import { attention, mostHeadDim } from "./kernels/attention.ts";
import { bitLinear } from "./kernels/bit-linear.ts";
import * as elements from "./kernels/element-wise.ts";
import { embed } from "./kernels/embed.ts";
import { headLogits, headStates } from "./kernels/head.ts";
import { lora, mostRank } from "./kernels/lora.ts";
import { quantise } from "./kernels/quantise.ts";
import { rmsNorm } from "./kernels/rms-norm.ts";
import { rope } from "./kernels/rope.ts";
import { writeKv } from "./kernels/write-kv.ts";
import { type DeviceMemory, tensorBytes } from "./memory.ts";
import {
  type Constant,
  kindOf,
  missing,
  PlannedWeights,
  type Upload,
  unsupported,
} from "./planned-weights.ts";

export interface ActivationBuffers {
  values: GPUBuffer;
  /** Of q8 buffers. */
  scales?: GPUBuffer;
  /** Elements (f32) or words (q8) of a row. */
  rowWords: number;
  /** Scales of a row. */
  groups: number;
}

/** The head apart from its dispatches, which run for the requests of a step rather than for its rows. */
export interface HeadPlan {
  cols: number;
  vocabSize: number;
  /** Requests that are answered together. */
  most: number;
  asked: GPUBuffer;
  states: GPUBuffer;
  logits: GPUBuffer;
  /** First the states, then the shards of the table. */
  dispatches: Dispatch[];
}

export interface DevicePlan {
  dispatches: Dispatch[];
  head: HeadPlan | null;
  uploads: readonly Upload[];
  constants: readonly Constant[];
  activations: ReadonlyMap<BufferId, ActivationBuffers>;
  /** Keys and values of each layer, and the bytes of one page of either. */
  caches: { keys: GPUBuffer; values: GPUBuffer; pageBytes: number }[];
}

const kvElementBytes: Readonly<Record<KvType, number>> = { f16: 2, f32: 4 };
/** Of logits that are read back at once. */
const mostLogitBytes = 2 ** 26;

export function planDispatches(program: Program, options: LoadOptions, memory: DeviceMemory): DevicePlan {
  return new Planner(program, options, memory).plan();
}

class Planner {
  readonly #program: Program;
  readonly #options: LoadOptions;
  readonly #memory: DeviceMemory;
  readonly #paddedRows: number;
  readonly #plan: DevicePlan;
  readonly #activations = new Map<BufferId, ActivationBuffers>();
  readonly #caches = new Map<BufferId, DevicePlan["caches"][number]>();
  readonly #weights: PlannedWeights;

  constructor(program: Program, options: LoadOptions, memory: DeviceMemory) {
    this.#program = program;
    this.#options = options;
    this.#memory = memory;
    this.#weights = new PlannedWeights(program, memory);
    // Products read whole tiles of rows.
    this.#paddedRows = Math.ceil(options.maxRows / 4) * 4;
    this.#plan = {
      dispatches: [],
      head: null,
      uploads: this.#weights.uploads,
      constants: this.#weights.constants,
      activations: this.#activations,
      caches: [],
    };
  }

  plan(): DevicePlan {
    for (const [id, buffer] of this.#program.buffers.entries()) {
      if (buffer.class === "activation") this.#activations.set(id, this.#activation(buffer));
      else if (buffer.class === "kv") this.#caches.set(id, this.#cache(buffer));
    }
    this.#plan.caches.push(...this.#caches.values());
    for (const [index, op] of this.#program.ops.entries()) this.#add(op, index);
    return this.#plan;
  }

  #add(op: Op, index: number): void {
    const { kvType } = this.#options;
    switch (op.op) {
      case "embed":
        for (const { buffer, firstRow, shardRows } of this.#weights.table(op.table)) {
          const { cols, type } = this.#weights.dense(op.table);
          const params = { cols, firstRow, shardRows };
          this.#push({ kernel: embed(type), params, operands: [buffer, this.#f32(op.out)], x: over(cols) });
        }
        return;
      case "rmsNormQuant":
      case "quantise": {
        const out = this.#q8(op.out);
        const isNormed = op.op === "rmsNormQuant";
        const { cols } = this.#decl(op.x);
        this.#push({
          kernel: quantise(isNormed),
          params: {
            cols,
            words: out.rowWords,
            isGrouped: out.isGrouped ? 1 : 0,
            operation: index,
            eps: isNormed ? op.eps : 0,
          },
          operands: [
            this.#f32(op.x),
            ...(isNormed ? [this.#weights.vector(op.weight)] : []),
            out.values,
            out.scales,
          ],
          x: 1,
        });
        return;
      }
      case "rmsNorm": {
        const width = this.#weights.dense(op.weight).cols;
        const nParts = this.#decl(op.x).cols / width;
        const operands = [this.#f32(op.x), this.#weights.vector(op.weight), this.#f32(op.out)];
        this.#push({ kernel: rmsNorm, params: { width, nParts, eps: op.eps }, operands, x: nParts });
        return;
      }
      case "bitLinear":
        this.#bitLinear(op);
        return;
      case "ropeKv": {
        const { nKvHeads } = this.#kv(op.kv);
        this.#rope({ op: "rope", x: op.q, table: op.table, nHeads: op.nHeads, pairing: op.pairing });
        this.#rope({ op: "rope", x: op.k, table: op.table, nHeads: nKvHeads, pairing: op.pairing });
        this.#writeKv(op);
        return;
      }
      case "rope":
        this.#rope(op);
        return;
      case "writeKv":
        this.#writeKv(op);
        return;
      case "attention": {
        const { nKvHeads, headDim, keys, values } = this.#kv(op.kv);
        if (headDim > mostHeadDim)
          throw unsupported(`heads of ${headDim} elements; this backend takes up to ${mostHeadDim}`);
        const { nHeads, window, scale } = op;
        this.#push({
          kernel: attention(kvType),
          params: { nHeads, nKvHeads, headDim, window, scale },
          operands: [this.#f32(op.q), keys, values, this.#f32(op.out)],
          x: nHeads,
        });
        return;
      }
      case "gatedActivation":
        this.#elementWise(elements.gatedActivation(op.fn), op.out, [op.gate, op.up, op.out]);
        return;
      case "activation":
        this.#elementWise(elements.activation(op.fn), op.out, [op.x, op.out]);
        return;
      case "multiply":
        this.#elementWise(elements.multiply, op.out, [op.x, op.y, op.out]);
        return;
      case "residual":
        this.#elementWise(elements.residual, op.x, [op.x, op.y]);
        return;
      case "scale":
        this.#elementWise(elements.scale, op.x, [op.x], op.factor);
        return;
      case "bias": {
        const { cols } = this.#decl(op.x);
        const operands = [this.#f32(op.x), this.#weights.vector(op.bias)];
        this.#push({ kernel: elements.bias, params: { cols, factor: 0 }, operands, x: over(cols) });
        return;
      }
      case "lora": {
        const { rows: rank, cols } = this.#weights.dense(op.a);
        if (rank > mostRank)
          throw unsupported(`an adapter of rank ${rank}; this backend takes up to ${mostRank}`);
        const { adapter, scale } = op;
        const operands = [
          this.#f32(op.x),
          this.#weights.vector(op.a),
          this.#weights.vector(op.b),
          this.#f32(op.y),
        ];
        const params = { cols, rank, width: this.#decl(op.y).cols, adapter, scale };
        this.#push({ kernel: lora, params, operands, x: 1 });
        return;
      }
      case "head":
        this.#head(op);
        return;
      default:
        unreachable(op, "webgpu");
    }
  }

  /** Up to three matrices with scales of one kind go into one dispatch, as long as one binding holds them. */
  #bitLinear({ x, weights, outs }: OpOf<"bitLinear">): void {
    for (let first = 0; first < weights.length; ) {
      let end = first + 1;
      const kind = kindOf(this.#weights.ternary(weights[first] ?? -1));
      let bytes = tensorBytes(this.#weights.ternary(weights[first] ?? -1));
      while (end < weights.length && end < first + 3) {
        const next = this.#weights.ternary(weights[end] ?? -1);
        bytes += tensorBytes(next);
        if (kindOf(next) !== kind || bytes > this.#memory.mostBytes) break;
        end++;
      }
      this.#product(x, weights.slice(first, end), outs.slice(first, end));
      first = end;
    }
  }

  #product(x: BufferId, ids: readonly BufferId[], outs: readonly BufferId[]): void {
    const tensors = ids.map((id) => this.#weights.ternary(id));
    const nOut = tensors.reduce((sum, { rows }) => sum + rows, 0);
    const cols = tensors[0]?.cols ?? 0;
    const scale = tensors[0]?.scale;
    const scaleGroups = scale?.kind === "group" ? cols / scale.size : 1;
    const { weights, scales } = this.#weights.product(ids);
    const input = this.#q8(x);
    const isGrouped = input.isGrouped || scaleGroups > 1;
    const { hasDot4 } = this.#memory.device.report;
    const ends = tensors.map(
      ({ rows }, i) => rows + tensors.slice(0, i).reduce((sum, each) => sum + each.rows, 0),
    );
    const unused = [0, 1].map((i) => this.#weights.unused(i));
    this.#push({
      kernel: bitLinear({ tile: 1, isGrouped, hasDot4 }),
      many: { kernel: bitLinear({ tile: 4, isGrouped, hasDot4 }), tile: 4 },
      params: {
        blocks: Math.ceil(cols / 128),
        nOut,
        end0: ends[0] ?? nOut,
        end1: ends[1] ?? nOut,
        scaleGroups,
        blocksPerGroup: scale?.kind === "group" ? scale.size / 128 : 1,
        activationGroups: input.isGrouped ? input.groups : 1,
        isGroupedInput: input.isGrouped ? 1 : 0,
      },
      operands: [
        weights,
        scales,
        input.values,
        input.scales,
        ...outs.map((id) => this.#f32(id)),
        ...unused.slice(0, 3 - outs.length),
      ],
      x: Math.ceil(nOut / 8),
    });
  }

  #rope({ x, table, nHeads, pairing }: OpOf<"rope">): void {
    const { cols } = this.#decl(x);
    const params = { nHeads, headDim: cols / nHeads, isAdjacent: pairing === "adjacent" ? 1 : 0 };
    this.#push({
      kernel: rope,
      params,
      operands: [this.#f32(x), this.#weights.vector(table)],
      x: over(cols / 2),
    });
  }

  #writeKv({ k, v, kv }: Pick<OpOf<"writeKv">, "k" | "v" | "kv">): void {
    const { nKvHeads, headDim, keys, values } = this.#kv(kv);
    const width = nKvHeads * headDim;
    const operands = [this.#f32(k), this.#f32(v), keys, values];
    this.#push({ kernel: writeKv(this.#options.kvType), params: { width }, operands, x: over(width / 2) });
  }

  #elementWise(kernel: Dispatch["kernel"], like: BufferId, ids: readonly BufferId[], factor = 0): void {
    const { cols } = this.#decl(like);
    this.#push({ kernel, params: { cols, factor }, operands: ids.map((id) => this.#f32(id)), x: over(cols) });
  }

  #head({ x, weight, eps, table }: OpOf<"head">): void {
    const { cols, rows: vocabSize, type } = this.#weights.dense(table);
    const { maxRows } = this.#options;
    const room = Math.min(mostLogitBytes, this.#memory.mostBytes);
    const most = Math.min(maxRows, Math.max(1, Math.floor(room / (4 * vocabSize))));
    const asked = this.#memory.storage("asked", 4 * most);
    const states = this.#memory.storage("states", 4 * cols * most, usage.copyDst | usage.copySrc);
    const logits = this.#memory.storage("logits", 4 * vocabSize * most, usage.copyDst | usage.copySrc);
    const operands = [this.#f32(x), this.#weights.vector(weight), asked, states];
    const dispatches: Dispatch[] = [{ kernel: headStates, params: { cols, eps }, operands, x: 1 }];
    for (const { buffer, firstRow, shardRows } of this.#weights.table(table)) {
      const params = { cols, firstRow, shardRows, vocabSize };
      const x = Math.ceil(shardRows / 8);
      dispatches.push({ kernel: headLogits(type), params, operands: [buffer, states, logits], x });
    }
    this.#plan.head = { cols, vocabSize, most, asked, states, logits, dispatches };
  }

  #push(dispatch: Dispatch): void {
    this.#plan.dispatches.push(dispatch);
  }

  #activation(buffer: Extract<Program["buffers"][number], { class: "activation" }>): ActivationBuffers {
    const { name, cols } = buffer;
    const both = usage.copyDst | usage.copySrc;
    if (buffer.type === "f32") {
      const values = this.#memory.storage(name, 4 * cols * this.#paddedRows, both);
      return { values, rowWords: cols, groups: 0 };
    }
    const rowWords = Math.ceil(cols / 128) * 32;
    const groups = buffer.groupSize === undefined ? 1 : rowWords / 32;
    return {
      values: this.#memory.storage(name, 4 * rowWords * this.#paddedRows, both),
      scales: this.#memory.storage(`scales of ${name}`, 4 * groups * this.#paddedRows, both),
      rowWords,
      groups,
    };
  }

  #cache({ name, nKvHeads, headDim }: Extract<Program["buffers"][number], { class: "kv" }>) {
    const { nPages, kvType } = this.#options;
    const pageBytes = pageTokens * nKvHeads * headDim * kvElementBytes[kvType];
    const both = usage.copyDst | usage.copySrc;
    return {
      keys: this.#memory.storage(`keys of ${name}`, nPages * pageBytes, both),
      values: this.#memory.storage(`values of ${name}`, nPages * pageBytes, both),
      pageBytes,
    };
  }

  #f32(id: BufferId): GPUBuffer {
    return (this.#activations.get(id) ?? missing(id)).values;
  }

  #q8(id: BufferId) {
    const buffers = this.#activations.get(id) ?? missing(id);
    const decl = this.#program.buffers[id];
    const isGrouped = decl?.class === "activation" && decl.type === "q8" && decl.groupSize !== undefined;
    return { ...buffers, scales: buffers.scales ?? missing(id), isGrouped };
  }

  #kv(id: BufferId) {
    const decl = this.#program.buffers[id];
    return decl?.class === "kv" ? { ...decl, ...(this.#caches.get(id) ?? missing(id)) } : missing(id);
  }

  #decl(id: BufferId): { cols: number } {
    const decl = this.#program.buffers[id];
    return decl?.class === "activation" ? decl : missing(id);
  }
}

/** Workgroups of 64 threads for so many elements. */
function over(n: number): number {
  return Math.ceil(n / 64);
}
