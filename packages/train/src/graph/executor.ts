/**
 * Runs a graph forward, and backward to the gradients of its parameters, on one micro-batch of whole documents at a time. Owns the
 * parameters, their gradients and the memory of values. Knows nothing of optimisers or data. Long, because every operation
 * has its case twice, forward and backward, and both read the same values.
 */
import { BitNetError, ropeTable } from "@bitnet.ts/core";
import { chainLength, type Floats, type Kernels } from "../kernels/kernels.ts";
import { GradientPool, planValues } from "./buffers.ts";
import {
  type Graph,
  type Operation,
  type Parameter,
  type ParameterId,
  sizeOf,
  type ValueId,
} from "./graph.ts";

/** Whole documents, one after another. */
export interface MicroBatch {
  readonly ids: Int32Array; // [rows]
  /** The token after each row's; anything where the weight is 0. */
  readonly labels: Int32Array; // [rows]
  /** How much a row's loss counts; 0 leaves it out. */
  readonly weights: Float32Array; // [rows]
  /** First row of every document, and the number of rows. */
  readonly starts: Int32Array; // [nDocuments + 1]
}

export interface BatchLoss {
  /** Σ weight · −log p, over rows in order, in f64. */
  sum: number;
  /** Σ weight. */
  weight: number;
}

export interface ExecutorOptions {
  /** The most rows of a micro-batch. */
  maxRows: number;
  /** Compute the values inside a segment again on the way back instead of keeping them. */
  recomputes?: boolean;
}

/** What the products of the way back are made of, those of the head aside. `bf16` is faster where there are instructions for it; its bits hold for one instruction set, not for all. */
export type BackwardPrecision = (typeof backwardPrecisions)[number];
export const backwardPrecisions = ["f32", "bf16"] as const;

/** What dropout masks depend on, besides the place. */
export interface DropoutKey {
  seed: number;
  step: number;
  /** Number of the micro-batch's first row within the optimiser's step. */
  firstRow: number;
}

/** Rows whose logits exist at a time: a multiple of `chainLength`, so that gradients do not depend on it. */
const headRows = 2 * chainLength;

export class Executor {
  readonly graph: Graph;
  readonly kernels: Kernels;
  /** Master weights. After changing them, call `formWeights`. */
  readonly parameters: readonly Floats[];
  /** Added to by `gradient`. */
  readonly gradients: readonly Floats[];
  /** −log p per row of the last batch; 0 for rows left out. */
  readonly losses: Floats;
  readonly #formed: readonly Floats[];
  readonly #scales: Float64Array;
  /** A weight with what an adapter adds to it, before it is formed. */
  readonly #sum: Floats;
  readonly #values: readonly Floats[];
  readonly #pool: GradientPool;
  readonly #logits: Floats;
  readonly #rope: Floats;
  readonly #maxRows: number;
  readonly #recomputes: boolean;
  #isBrain = false;
  /** [maxRows, widest value], for side paths. */
  readonly #scratch: readonly [Floats, Floats];
  #dropout: DropoutKey | null = null;

  constructor(graph: Graph, kernels: Kernels, { maxRows, recomputes = false }: ExecutorOptions) {
    this.graph = graph;
    this.kernels = kernels;
    this.parameters = graph.parameters.map((parameter) => kernels.allocate(sizeOf(parameter)));
    // Kernels write gradients of norms in any case.
    this.gradients = graph.parameters.map((parameter) =>
      kernels.allocate(hasGradient(parameter) || parameter.shape.length === 1 ? sizeOf(parameter) : 0),
    );
    this.#formed = graph.parameters.map((parameter, id) =>
      isFormed(parameter) ? kernels.allocate(sizeOf(parameter)) : (this.parameters[id] as Floats),
    );
    this.#sum = kernels.allocate(
      Math.max(0, ...graph.parameters.map((each) => (each.adapter === undefined ? 0 : sizeOf(each)))),
    );
    this.#scales = new Float64Array(graph.parameters.length).fill(1);
    this.#values = planValues(graph, kernels, maxRows, recomputes);
    this.#pool = new GradientPool(kernels, maxRows);
    this.#logits = kernels.allocate(Math.min(headRows, maxRows) * graph.vocabSize);
    this.losses = kernels.allocate(maxRows);
    this.#rope = kernels.allocate(graph.contextLength * graph.headDim);
    this.#rope.set(
      ropeTable({
        contextLength: graph.contextLength,
        headDim: graph.headDim,
        theta: graph.ropeTheta,
        scaling: null,
      }),
    );
    this.#maxRows = maxRows;
    this.#recomputes = recomputes;
    const hasSidePaths = graph.operations.some(({ kind }) => kind === "lora");
    const widest = hasSidePaths ? Math.max(...graph.values.map(({ width }) => width)) : 0;
    this.#scratch = [kernels.allocate(maxRows * widest), kernels.allocate(maxRows * widest)];
  }

  /** Ternarises (or binarises) the master weights for the passes to come. @throws BitNetError NUMERIC_FAILURE */
  formWeights(): void {
    this.graph.parameters.forEach((parameter, id) => {
      if (!isFormed(parameter)) return;
      const masters = this.#adapted(parameter, this.parameters[id] as Floats);
      this.#scales[id] = this.kernels.formWeights(masters, parameter.form, this.#formed[id] as Floats);
    });
  }

  /** W + scale · B A. */
  #adapted(parameter: Parameter, weights: Floats): Floats {
    if (parameter.adapter === undefined) return weights;
    const { a, b, scale } = parameter.adapter;
    const [n, rank] = this.#shapeOf(b);
    const [, k] = this.#shapeOf(a);
    const sum = this.#sum.subarray(0, n * k);
    const factors = { a: this.parameters[b] as Floats, b: this.parameters[a] as Floats };
    this.kernels.product({ ...factors, out: sum, m: n, n: k, k: rank, factor: scale });
    this.kernels.add(weights, sum, sum);
    return sum;
  }

  /** Passes the gradients of weights on to the adapters within them: dB = scale · dW Aᵀ, dA = scale · Bᵀ dW. Once a step, before the optimiser. */
  finishGradients(): void {
    this.graph.parameters.forEach(({ adapter }, id) => {
      if (adapter === undefined) return;
      const { a, b, scale } = adapter;
      const [outputs, rank] = this.#shapeOf(b);
      const [, inputs] = this.#shapeOf(a);
      const dW = this.gradients[id] as Floats;
      const rest = { factor: scale, adds: true };
      this.kernels.product({
        ...{ a: dW, b: this.parameters[a] as Floats, out: this.gradients[b] as Floats },
        ...{ m: outputs, n: rank, k: inputs, transB: true, ...rest },
      });
      this.kernels.product({
        ...{ a: this.parameters[b] as Floats, b: dW, out: this.gradients[a] as Floats },
        ...{ m: rank, n: inputs, k: outputs, transA: true, ...rest },
      });
    });
  }

  /** The weights that the forward pass multiplies with, and the scale of the product. */
  formed(id: ParameterId): { weights: Floats; scale: number } {
    return { weights: this.#formed[id] as Floats, scale: this.#scales[id] ?? 1 };
  }

  /** The scale of a frozen parameter's trits. */
  setFrozenScale(id: ParameterId, scale: number): void {
    this.#scales[id] = scale;
  }

  /** For gradients to come. @throws BitNetError BACKEND_UNAVAILABLE */
  setBackward(precision: BackwardPrecision): void {
    if (precision === "bf16" && !this.kernels.hasBrains)
      throw new BitNetError(
        "BACKEND_UNAVAILABLE",
        `training: gradients in bf16 want AVX512-BF16 (or the reference kernels), and ${this.kernels.name} has none; train with --backward f32`,
      );
    this.#isBrain = precision === "bf16";
  }

  clearGradients(): void {
    for (const gradient of this.gradients) gradient.fill(0);
  }

  /** The loss alone. */
  loss(batch: MicroBatch): BatchLoss {
    const rows = this.#check(batch);
    this.#dropout = null;
    this.graph.operations.forEach((op) => {
      if (op.kind === "head") this.#head(op, batch, rows, null);
      else this.#forward(op, batch, rows);
    });
    return sumLosses(this.losses, batch);
  }

  /** The forward pass; `logits` then gives those of its rows. */
  forward(batch: MicroBatch): void {
    const rows = this.#check(batch);
    this.#dropout = null;
    for (const op of this.graph.operations) if (op.kind !== "head") this.#forward(op, batch, rows);
  }

  /** Logits [count, vocab] of rows of the last `forward`, at most `chainLength` of them; valid until the next call. */
  logits(first: number, count: number): Floats {
    const head = this.graph.operations.at(-1);
    if (head?.kind !== "head") throw new BitNetError("INTERNAL", "training: a graph without a head");
    const width = this.#width(head.x);
    const x = this.#value(head.x, first + count).subarray(first * width);
    const logits = this.#logits.subarray(0, count * this.graph.vocabSize);
    const table = this.parameters[head.table] as Floats;
    this.kernels.stripedProduct({ a: x, b: table, out: logits, m: count, n: this.graph.vocabSize, k: width });
    return logits;
  }

  /** The loss, and its gradient times `scale` added to `gradients`. Without a key nothing is dropped. */
  gradient(batch: MicroBatch, scale: number, dropout: DropoutKey | null = null): BatchLoss {
    const rows = this.#check(batch);
    this.#dropout = dropout;
    const { operations } = this.graph;
    for (const op of operations) if (op.kind !== "head") this.#forward(op, batch, rows);
    let computed = this.graph.segments.at(-1) ?? 0;
    for (let index = operations.length - 1; index >= 0; index--) {
      const segment = this.graph.segments[index] ?? 0;
      if (this.#recomputes && segment !== computed) {
        // The last segment but one is still there as the forward pass left it only when no later one used its memory.
        this.#recompute(segment, batch, rows);
        computed = segment;
      }
      const op = operations[index] as Operation;
      if (op.kind === "head") this.#head(op, batch, rows, scale);
      else this.#backward(op, batch, rows);
    }
    return sumLosses(this.losses, batch);
  }

  #recompute(segment: number, batch: MicroBatch, rows: number): void {
    this.graph.operations.forEach((op, index) => {
      if (this.graph.segments[index] === segment && op.kind !== "head") this.#forward(op, batch, rows);
    });
  }

  #check({ ids, labels, weights, starts }: MicroBatch): number {
    const rows = ids.length;
    const { contextLength, vocabSize } = this.graph;
    const isWhole =
      starts[0] === 0 && starts.at(-1) === rows && labels.length === rows && weights.length === rows;
    const isLong = starts.some((start, d) => d > 0 && start - (starts[d - 1] ?? 0) > contextLength);
    const isShort = starts.some((start, d) => d > 0 && start <= (starts[d - 1] ?? 0));
    if (rows === 0 || rows > this.#maxRows || !isWhole || isLong || isShort) {
      throw new BitNetError(
        "INTERNAL",
        `training: a micro-batch of ${rows} rows does not fit (at most ${this.#maxRows}, documents of 1 to ${contextLength})`,
      );
    }
    const isToken = (id: number) => id >= 0 && id < vocabSize;
    if (!ids.every(isToken) || !labels.every((id, row) => weights[row] === 0 || isToken(id)))
      throw new BitNetError("INVALID_ARGUMENT", `training: token ids must be in 0…${vocabSize - 1}`);
    return rows;
  }

  #value(id: ValueId, rows: number): Floats {
    return (this.#values[id] as Floats).subarray(0, rows * this.#width(id));
  }

  #width(id: ValueId): number {
    return this.graph.values[id]?.width ?? 0;
  }

  #gradientOf(id: ValueId, rows: number): Floats {
    return this.#pool.of(id, this.#width(id), rows);
  }

  #shapeOf(id: ParameterId): [number, number] {
    const [rows = 0, cols = 0] = this.graph.parameters[id]?.shape ?? [];
    return [rows, cols];
  }

  #forward(op: Exclude<Operation, { kind: "head" }>, { ids, starts }: MicroBatch, rows: number): void {
    const { kernels, graph } = this;
    const value = (id: ValueId) => this.#value(id, rows);
    switch (op.kind) {
      case "embed":
        kernels.embed(this.parameters[op.table] as Floats, ids, this.#width(op.out), value(op.out));
        break;
      case "rmsNorm": {
        const weight = this.parameters[op.weight] as Floats;
        kernels.rmsNorm(value(op.x), weight, graph.normEps, value(op.out), value(op.r));
        break;
      }
      case "quantise":
        kernels.quantise(value(op.x), this.#width(op.x), value(op.out), value(op.s));
        break;
      case "linear": {
        const [n, k] = this.#shapeOf(op.weight);
        const { weights, scale } = this.formed(op.weight);
        const divisors = op.s === null ? {} : { rowDivisors: value(op.s) };
        const out = value(op.out);
        kernels.product({
          a: value(op.x),
          b: weights,
          out,
          m: rows,
          n,
          k,
          transB: true,
          factor: scale,
          isTernary: op.s !== null,
          ...divisors,
        });
        break;
      }
      case "rope": {
        const x = value(op.out);
        const { headDim } = graph;
        kernels.rope({ x, starts, nHeads: op.nHeads, headDim, table: this.#rope, isInverse: false });
        break;
      }
      case "attention":
        kernels.attention(this.#attention(op, starts, rows));
        break;
      case "gate":
        kernels.gate(op.fn, value(op.gate), value(op.up), value(op.out));
        break;
      case "add":
        kernels.add(value(op.a), value(op.b), value(op.out));
        break;
      case "lora": {
        const { x, a, b, rank, inputs, outputs } = this.#sidePath(op, rows);
        const [hidden, delta] = [value(op.hidden), this.#scratch[1].subarray(0, rows * outputs)];
        kernels.stripedProduct({ a: x, b: a, out: hidden, m: rows, n: rank, k: inputs });
        kernels.stripedProduct({ a: hidden, b, out: delta, m: rows, n: outputs, k: rank });
        kernels.addScaled(value(op.y), delta, op.scale, value(op.out));
        break;
      }
    }
  }

  /** The factors of a side path, and its input with what dropout leaves of it. */
  #sidePath(op: Operation & { kind: "lora" }, rows: number) {
    const [rank, inputs] = this.#shapeOf(op.a);
    const [outputs] = this.#shapeOf(op.b);
    const plain = this.#value(op.x, rows);
    const noise = op.dropout > 0 ? this.#dropout : null;
    const x = noise === null ? plain : this.#scratch[0].subarray(0, rows * inputs);
    if (noise !== null)
      this.kernels.dropout({ x: plain, width: inputs, out: x, site: op.site, share: op.dropout, ...noise });
    const [a, b] = [this.parameters[op.a] as Floats, this.parameters[op.b] as Floats];
    return { x, a, b, rank, inputs, outputs, noise };
  }

  #sidePathGradient(op: Operation & { kind: "lora" }, dOut: Floats, rows: number): void {
    const { kernels, gradients } = this;
    const { x, a, b, rank, inputs, outputs, noise } = this.#sidePath(op, rows);
    const hidden = this.#value(op.hidden, rows);
    const [dA, dB] = [gradients[op.a] as Floats, gradients[op.b] as Floats];
    const factor = op.scale;
    const ofRows = { k: rows, transA: true, adds: true };
    kernels.product({ a: dOut, b: hidden, out: dB, m: outputs, n: rank, factor, ...ofRows });
    // The hidden rows have done their part.
    kernels.product({ a: dOut, b, out: hidden, m: rows, n: rank, k: outputs, factor });
    kernels.product({ a: hidden, b: x, out: dA, m: rank, n: inputs, ...ofRows });
    const dX = this.#gradientOf(op.x, rows);
    const toInput = { a: hidden, b: a, m: rows, n: inputs, k: rank };
    if (noise === null) {
      kernels.product({ ...toInput, out: dX, adds: true });
      return;
    }
    const dropped = this.#scratch[1].subarray(0, rows * inputs);
    kernels.product({ ...toInput, out: dropped });
    kernels.dropout({
      ...{ x: dropped, width: inputs, out: dX, site: op.site, share: op.dropout, adds: true },
      ...noise,
    });
  }

  #attention(op: Operation & { kind: "attention" }, starts: Int32Array, rows: number) {
    const value = (id: ValueId) => this.#value(id, rows);
    const { nHeads, nKvHeads, headDim } = this.graph;
    return {
      ...{ starts, nHeads, nKvHeads, headDim },
      ...{ q: value(op.q), k: value(op.k), v: value(op.v), out: value(op.out), stats: value(op.stats) },
    };
  }

  #backward(op: Exclude<Operation, { kind: "head" }>, { ids, starts }: MicroBatch, rows: number): void {
    const { kernels, graph } = this;
    const pool = this.#pool;
    const value = (id: ValueId) => this.#value(id, rows);
    const gradient = (id: ValueId) => this.#gradientOf(id, rows);
    if (!pool.has(op.out)) return; // nothing depends on it
    const dOut = gradient(op.out);
    switch (op.kind) {
      case "embed":
        if (graph.parameters[op.table]?.isFrozen) break;
        kernels.embedGradient(ids, dOut, this.#width(op.out), this.gradients[op.table] as Floats);
        break;
      case "rmsNorm": {
        const weight = this.parameters[op.weight] as Floats;
        const dWeight = this.gradients[op.weight] as Floats;
        kernels.rmsNormGradient({
          x: value(op.x),
          weight,
          r: value(op.r),
          dOut,
          dX: gradient(op.x),
          dWeight,
        });
        break;
      }
      case "quantise":
        this.#passOn(op.out, [op.x], rows);
        return;
      case "linear": {
        const [outputs, inputs] = this.#shapeOf(op.weight);
        const { weights, scale } = this.formed(op.weight);
        const dW = this.gradients[op.weight] as Floats;
        const dX = gradient(op.x);
        kernels.product({
          a: dOut,
          b: weights,
          out: dX,
          m: rows,
          n: inputs,
          k: outputs,
          factor: scale,
          adds: true,
          isBrain: this.#isBrain,
        });
        if (!hasGradient(graph.parameters[op.weight])) break;
        const divisors = op.s === null ? {} : { innerDivisors: value(op.s) };
        const x = value(op.x);
        kernels.product({
          a: dOut,
          b: x,
          out: dW,
          m: outputs,
          n: inputs,
          k: rows,
          transA: true,
          adds: true,
          isBrain: this.#isBrain,
          ...divisors,
        });
        break;
      }
      case "rope":
        kernels.rope({
          x: dOut,
          starts,
          nHeads: op.nHeads,
          headDim: graph.headDim,
          table: this.#rope,
          isInverse: true,
        });
        this.#passOn(op.out, [op.x], rows);
        return;
      case "attention":
        kernels.attentionGradient({
          ...this.#attention(op, starts, rows),
          dOut,
          ...{ dQ: gradient(op.q), dK: gradient(op.k), dV: gradient(op.v) },
        });
        break;
      case "gate":
        kernels.gateGradient({
          ...{ fn: op.fn, gate: value(op.gate), up: value(op.up), dOut },
          ...{ dGate: gradient(op.gate), dUp: gradient(op.up) },
        });
        break;
      case "add":
        this.#passOn(op.out, [op.a, op.b], rows);
        return;
      case "lora":
        this.#sidePathGradient(op, dOut, rows);
        this.#passOn(op.out, [op.y], rows);
        return;
    }
    pool.release(op.out);
  }

  /** Adds the gradient of `from` to those of `to`, the last of which takes over its memory where it has none yet. */
  #passOn(from: ValueId, to: readonly ValueId[], rows: number): void {
    const pool = this.#pool;
    const last = to.at(-1) ?? from;
    for (const id of to) {
      if (id === last && !pool.has(id)) {
        pool.move(from, id);
        return;
      }
      const sum = this.#gradientOf(id, rows);
      this.kernels.add(sum, this.#gradientOf(from, rows), sum);
    }
    pool.release(from);
  }

  /** Logits chunk by chunk, so that they never exist for all rows. */
  #head(op: Operation & { kind: "head" }, batch: MicroBatch, rows: number, scale: number | null): void {
    const { kernels } = this;
    const vocab = this.graph.vocabSize;
    const width = this.#width(op.x);
    const table = this.parameters[op.table] as Floats;
    const dTable = this.gradients[op.table] as Floats;
    for (let first = 0; first < rows; first += headRows) {
      const count = Math.min(headRows, rows - first);
      const x = this.#value(op.x, rows).subarray(first * width, (first + count) * width);
      const logits = this.#logits.subarray(0, count * vocab);
      kernels.stripedProduct({ a: x, b: table, out: logits, m: count, n: vocab, k: width });
      kernels.crossEntropy({
        ...{ logits, rows: count, vocab },
        labels: batch.labels.subarray(first, first + count),
        weights: batch.weights.subarray(first, first + count),
        losses: this.losses.subarray(first, first + count),
        ...(scale === null ? {} : { scale }),
      });
      if (scale === null) continue;
      const dX = this.#gradientOf(op.x, rows).subarray(first * width, (first + count) * width);
      kernels.product({ a: logits, b: table, out: dX, m: count, n: width, k: vocab, adds: true });
      if (this.graph.parameters[op.table]?.isFrozen) continue;
      kernels.product({
        a: logits,
        b: x,
        out: dTable,
        m: vocab,
        n: width,
        k: count,
        transA: true,
        adds: true,
      });
    }
  }
}

/** Whether the forward pass multiplies with something else than the parameter. */
function isFormed({ form, isFrozen, adapter }: Parameter): boolean {
  return form !== "float" && (!isFrozen || adapter !== undefined);
}

function hasGradient(parameter: Parameter | undefined): boolean {
  return parameter !== undefined && (!parameter.isFrozen || parameter.adapter !== undefined);
}

function sumLosses(losses: Floats, { weights }: MicroBatch): BatchLoss {
  let sum = 0;
  let weight = 0;
  for (let row = 0; row < weights.length; row++) {
    sum += (weights[row] ?? 0) * (losses[row] ?? 0);
    weight += weights[row] ?? 0;
  }
  return { sum, weight };
}
