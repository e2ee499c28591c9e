/** A Program as dispatches over buffers of the device: which kernel runs each operation, with which parameters and operands. */
import {
  type BufferId,
  type LoadOptions,
  type Op,
  type OpOf,
  type Program,
  pageTokens,
  unreachable,
} from "@bitnet.ts/core";
import type { Dispatch } from "./dispatch.ts";
import { type HeadPlan, planHead } from "./head-plan.ts";
import {
  attention,
  attentionOfBlocks,
  attentionSum,
  blockPositions,
  mostHeadDim,
} from "./kernels/attention.ts";
import { bitLinear } from "./kernels/bit-linear.ts";
import { bitLinearTile, tileRows } from "./kernels/bit-linear-tile.ts";
import * as elements from "./kernels/element-wise.ts";
import { embed } from "./kernels/embed.ts";
import { lora, mostRank } from "./kernels/lora.ts";
import { quantise } from "./kernels/quantise.ts";
import { rmsNorm } from "./kernels/rms-norm.ts";
import { rope } from "./kernels/rope.ts";
import type { RowPart } from "./kernels/row-part.ts";
import { writeKv } from "./kernels/write-kv.ts";
import { type DeviceMemory, tensorBytes } from "./memory.ts";
import { type ActivationBuffers, type CacheBuffers, PlannedBuffers } from "./planned-buffers.ts";
import { type Constant, kindOf, PlannedWeights, type Upload, unsupported } from "./planned-weights.ts";
import { RowFuser } from "./row-fuser.ts";

export interface DevicePlan {
  dispatches: Dispatch[];
  head: HeadPlan | null;
  uploads: readonly Upload[];
  constants: readonly Constant[];
  activations: ReadonlyMap<BufferId, ActivationBuffers>;
  /** Of each layer. */
  caches: readonly CacheBuffers[];
  /** Blocks of attention, of all rows of a step together, that may be computed apart from one another; 0: none. */
  mostBlocks: number;
}

/** Of sums of blocks of attention. */
const mostSplitBytes = 2 ** 24;
/** Rows whose blocks are computed apart: more of them keep a GPU busy as they are. */
export const mostSplitRows = 8;
/** From so many rows on products are computed in tiles. */
const leastTiled = 17;

export function planDispatches(program: Program, options: LoadOptions, memory: DeviceMemory): DevicePlan {
  return new Planner(program, options, memory).plan();
}

class Planner {
  readonly #program: Program;
  readonly #options: LoadOptions;
  readonly #memory: DeviceMemory;
  readonly #plan: DevicePlan;
  readonly #buffers: PlannedBuffers;
  readonly #weights: PlannedWeights;
  readonly #rows: RowFuser;
  #splits: GPUBuffer | null = null;

  constructor(program: Program, options: LoadOptions, memory: DeviceMemory) {
    this.#program = program;
    this.#options = options;
    this.#memory = memory;
    this.#buffers = new PlannedBuffers(program, options, memory);
    this.#weights = new PlannedWeights(program, memory);
    const { threads, report } = memory.device;
    this.#rows = new RowFuser(threads, report.limits.maxStorageBuffersPerShaderStage);
    this.#plan = {
      dispatches: [],
      head: null,
      uploads: this.#weights.uploads,
      constants: this.#weights.constants,
      activations: this.#buffers.activations,
      caches: [...this.#buffers.caches.values()],
      mostBlocks: 0,
    };
  }

  plan(): DevicePlan {
    this.#planBlocks();
    for (const [index, op] of this.#program.ops.entries()) this.#add(op, index);
    this.#flush();
    return this.#plan;
  }

  #add(op: Op, index: number): void {
    switch (op.op) {
      case "embed":
        for (const { buffer, firstRow, shardRows } of this.#weights.table(op.table)) {
          const { cols, type } = this.#weights.dense(op.table);
          this.#row(embed(type), { cols, firstRow, shardRows }, [buffer, this.#buffers.f32(op.out)]);
        }
        return;
      case "rmsNormQuant":
      case "quantise": {
        const out = this.#buffers.q8(op.out);
        const { cols } = this.#buffers.decl(op.x);
        const params = { cols, words: out.rowWords, isGrouped: out.isGrouped ? 1 : 0, operation: index };
        const outs = [out.values, out.scales];
        if (op.op === "quantise") this.#row(quantise(false), params, [this.#buffers.f32(op.x), ...outs]);
        else {
          const operands = [this.#buffers.f32(op.x), this.#weights.vector(op.weight), ...outs];
          this.#row(quantise(true), { ...params, eps: op.eps }, operands);
        }
        return;
      }
      case "rmsNorm": {
        const width = this.#weights.dense(op.weight).cols;
        const nParts = this.#buffers.decl(op.x).cols / width;
        const operands = [
          this.#buffers.f32(op.x),
          this.#weights.vector(op.weight),
          this.#buffers.f32(op.out),
        ];
        this.#row(rmsNorm, { width, nParts, eps: op.eps }, operands);
        return;
      }
      case "bitLinear":
        this.#bitLinear(op);
        return;
      case "ropeKv": {
        const { nKvHeads } = this.#buffers.kv(op.kv);
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
      case "attention":
        this.#attention(op);
        return;
      case "gatedActivation":
        this.#elementWise(elements.gatedActivation(op.fn), [op.gate, op.up, op.out]);
        return;
      case "activation":
        this.#elementWise(elements.activation(op.fn), [op.x, op.out]);
        return;
      case "multiply":
        this.#elementWise(elements.multiply, [op.x, op.y, op.out]);
        return;
      case "residual":
        this.#elementWise(elements.residual, [op.x, op.y]);
        return;
      case "scale":
        this.#row(elements.scale, { cols: this.#buffers.decl(op.x).cols, factor: op.factor }, [
          this.#buffers.f32(op.x),
        ]);
        return;
      case "bias":
        this.#row(elements.bias, { cols: this.#buffers.decl(op.x).cols }, [
          this.#buffers.f32(op.x),
          this.#weights.vector(op.bias),
        ]);
        return;
      case "lora": {
        const { rows: rank, cols } = this.#weights.dense(op.a);
        if (rank > mostRank)
          throw unsupported(`an adapter of rank ${rank}; this backend takes up to ${mostRank}`);
        const { adapter, scale } = op;
        const operands = [
          this.#buffers.f32(op.x),
          this.#weights.vector(op.a),
          this.#weights.vector(op.b),
          this.#buffers.f32(op.y),
        ];
        this.#row(lora, { cols, rank, width: this.#buffers.decl(op.y).cols, adapter, scale }, operands);
        return;
      }
      case "head":
        this.#plan.head = planHead(op, this.#buffers.f32(op.x), {
          weights: this.#weights,
          memory: this.#memory,
          maxRows: this.#options.maxRows,
        });
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
    const input = this.#buffers.q8(x);
    const isGrouped = input.isGrouped || scaleGroups > 1;
    const { hasDot4 } = this.#memory.device.report;
    const ends = tensors.map(
      ({ rows }, i) => rows + tensors.slice(0, i).reduce((sum, each) => sum + each.rows, 0),
    );
    const unused = [0, 1].map((i) => this.#weights.unused(i));
    const variant = { isGrouped, hasDot4 };
    const x8 = Math.ceil(nOut / 8);
    this.#push({
      variants: [
        { kernel: bitLinear(1, variant), least: 1, tile: 1, x: x8 },
        { kernel: bitLinear(4, variant), least: 2, tile: 4, x: x8 },
        { kernel: bitLinearTile(variant), least: leastTiled, tile: tileRows, x: Math.ceil(nOut / tileRows) },
      ],
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
        ...outs.map((id) => this.#buffers.f32(id)),
        ...unused.slice(0, 3 - outs.length),
      ],
    });
  }

  #rope({ x, table, nHeads, pairing }: OpOf<"rope">): void {
    const { cols } = this.#buffers.decl(x);
    const params = { nHeads, headDim: cols / nHeads, isAdjacent: pairing === "adjacent" ? 1 : 0 };
    this.#row(rope, params, [this.#buffers.f32(x), this.#weights.vector(table)]);
  }

  #writeKv({ k, v, kv }: Pick<OpOf<"writeKv">, "k" | "v" | "kv">): void {
    const { nKvHeads, headDim, keys, values } = this.#buffers.kv(kv);
    const operands = [this.#buffers.f32(k), this.#buffers.f32(v), keys, values];
    this.#row(writeKv(this.#options.kvType), { width: nKvHeads * headDim }, operands);
  }

  /** Room for the sums of blocks, as many as the longest context and a few rows have. */
  #planBlocks(): void {
    const { contextLength, ops } = this.#program;
    const sums = ops.map((op) =>
      op.op === "attention" ? op.nHeads * (this.#buffers.kv(op.kv).headDim + 2) : 0,
    );
    const bytes = 4 * Math.max(0, ...sums);
    const nPositions = Math.min(contextLength, this.#options.nPages * pageTokens);
    const nBlocks = Math.ceil(nPositions / blockPositions);
    if (bytes === 0 || nBlocks < 2) return;
    const room = Math.min(mostSplitBytes, this.#memory.mostBytes);
    const most = Math.min(Math.floor(room / bytes), nBlocks * Math.min(mostSplitRows, this.#options.maxRows));
    if (most < 2) return;
    this.#plan.mostBlocks = most;
    this.#splits = this.#memory.storage("sums of blocks", bytes * most);
  }

  #attention({ q, kv, out, nHeads, window, scale }: OpOf<"attention">): void {
    const { kvType } = this.#options;
    const { nKvHeads, headDim, keys, values } = this.#buffers.kv(kv);
    if (headDim > mostHeadDim)
      throw unsupported(`heads of ${headDim} elements; this backend takes up to ${mostHeadDim}`);
    const params = { nHeads, nKvHeads, headDim, window, scale };
    const one = { least: 1, tile: 1, x: nHeads };
    const given = [this.#buffers.f32(q), keys, values];
    const to = this.#buffers.f32(out);
    const whole = {
      variants: [{ ...one, kernel: attention(kvType, headDim) }],
      params,
      operands: [...given, to],
    };
    if (this.#splits === null) {
      this.#push(whole);
      return;
    }
    this.#push({ ...whole, blocks: { runs: "whole", window } });
    this.#push({
      variants: [{ ...one, kernel: attentionOfBlocks(kvType, headDim) }],
      params,
      operands: [...given, this.#splits],
      blocks: { runs: "blocks", window },
    });
    const sum = { variants: [{ ...one, kernel: attentionSum }], params, operands: [this.#splits, to] };
    this.#push({ ...sum, blocks: { runs: "sum", window } });
  }

  /** All buffers as wide as the first. */
  #elementWise(part: RowPart, ids: readonly BufferId[]): void {
    const { cols } = this.#buffers.decl(ids[0] ?? -1);
    this.#row(
      part,
      { cols },
      ids.map((id) => this.#buffers.f32(id)),
    );
  }

  #row(part: RowPart, params: Readonly<Record<string, number>>, operands: readonly GPUBuffer[]): void {
    const before = this.#rows.add({ part, params, operands });
    if (before !== null) this.#plan.dispatches.push(before);
  }

  #flush(): void {
    const joined = this.#rows.flush();
    if (joined !== null) this.#plan.dispatches.push(joined);
  }

  /** A dispatch of its own. */
  #push(dispatch: Dispatch): void {
    this.#flush();
    this.#plan.dispatches.push(dispatch);
  }
}
