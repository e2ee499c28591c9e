/**
 * Merging an adapter into a ternary base. The sum of trits and side paths is not ternary, so that it has to be ternarised again, and most of
 * a usual adapter is lost: a change must move a weight across half a step. What was lost is measured on documents, not guessed.
 */
import { type Adapter, BitNetError, readTensor, type TensorInfo, widenRows } from "@bitnet.ts/core";
import type { EncodedExample } from "../data/example.ts";
import { packDocuments } from "../data/pack.ts";
import { type BaseModel, loadFrozen, storedMasters, tritsOf } from "../finetune/base-model.ts";
import { Executor, type MicroBatch } from "../graph/executor.ts";
import { type LoraShape, loraTargets, recordTransformer } from "../graph/transformer.ts";
import { chainLength, type Floats, type Kernels } from "../kernels/kernels.ts";

export interface MergeReport {
  /** Trits of the projections that have a side path, and those that merging changes. */
  nTrits: number;
  nChanged: number;
  /** Mean −log p per counted token: of the base, with the side path, and merged. */
  lossBase: number;
  lossAdapter: number;
  lossMerged: number;
  /** Mean Kullback-Leibler divergence of the merged model from the one with the side path, in nats per counted token. */
  divergence: number;
}

export interface MergedModel {
  /** Its base parameters hold the merged weights; its side paths are zero. */
  executor: Executor;
  report: MergeReport;
}

/** @throws BitNetError FORMAT_UNSUPPORTED for an adapter whose projections differ in rank or scale; as reading does. */
export async function mergeAdapter(
  base: BaseModel,
  adapter: Adapter,
  documents: readonly EncodedExample[],
  kernels: Kernels,
): Promise<MergedModel> {
  const lora = shapeOfAdapter(adapter);
  const executors = await Promise.all(
    [0, 1].map(async () => {
      const executor = new Executor(recordTransformer(base.shape, lora), kernels, {
        maxRows: base.shape.contextLength,
        recomputes: true,
      });
      await loadFrozen(executor, base);
      return executor;
    }),
  );
  const [sidePath, merged] = executors as [Executor, Executor];
  const batches = packDocuments(documents, base.shape.contextLength);
  const lossBase = meanLoss(sidePath, batches);
  await loadAdapter(sidePath, adapter);
  const counts = await ternariseSums(base, sidePath, merged, lora);
  const lossAdapter = meanLoss(sidePath, batches);
  const lossMerged = meanLoss(merged, batches);
  const divergence = meanDivergence(sidePath, merged, batches);
  return { executor: merged, report: { ...counts, lossBase, lossAdapter, lossMerged, divergence } };
}

function shapeOfAdapter({ source, projections }: Adapter): LoraShape {
  const [first] = projections.values();
  const isOne = [...projections.values()].every(
    ({ rank, scale }) => rank === first?.rank && scale === first.scale,
  );
  if (first === undefined || !isOne)
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `${source}: its projections have several ranks or scales; only adapters with one of each can be merged`,
    );
  const targets = loraTargets.filter((target) =>
    [...projections.keys()].some((name) => name.endsWith(`.${target}`)),
  );
  return { rank: first.rank, alpha: first.scale * first.rank, dropout: 0, targets };
}

/** Fills the side paths; projections that the adapter lacks keep zeros. */
async function loadAdapter(executor: Executor, { projections }: Adapter): Promise<void> {
  for (const [id, { name }] of executor.graph.parameters.entries()) {
    const match = /^(.*)\.lora_([ab])$/.exec(name);
    const tensor = projections.get(match?.[1] ?? "")?.[match?.[2] === "a" ? "a" : "b"];
    if (tensor !== undefined) executor.parameters[id]?.set(await widened(tensor));
  }
}

async function widened(tensor: TensorInfo): Promise<Float32Array> {
  const n = tensor.shape.reduce((product, size) => product * size, 1);
  const values = new Float32Array(n);
  widenRows(tensor.type as "f32" | "f16" | "bf16", await readTensor(tensor), n, 0, 1, values);
  return values;
}

/**
 * Q(W + scale · B A) for every projection with a side path: masters are ternarised as ever, with a scale of their own; trits stay on their
 * grid, T = clamp(round(T + scale · B A / m)), with the scale as it was.
 */
async function ternariseSums(
  base: BaseModel,
  from: Executor,
  to: Executor,
  { alpha, rank }: LoraShape,
): Promise<{ nTrits: number; nChanged: number }> {
  const { kernels } = to;
  let [nTrits, nChanged] = [0, 0];
  for (const [id, { name, shape, form }] of from.graph.parameters.entries()) {
    const [a, b] = ["a", "b"].map((part) =>
      from.graph.parameters.findIndex((parameter) => parameter.name === `${name}.lora_${part}`),
    );
    if (form === "float" || a === undefined || a < 0 || b === undefined) continue;
    const [rows = 0, cols = 0] = shape;
    const sum = kernels.allocate(rows * cols);
    kernels.product({
      ...{ a: from.parameters[b] as Floats, b: from.parameters[a] as Floats, out: sum },
      ...{ m: rows, n: cols, k: rank, factor: alpha / rank },
    });
    const before = await tritsOf(base, name);
    const masters = await storedMasters(base, name);
    const after = to.parameters[id] as Floats;
    if (masters !== null) {
      kernels.add(sum, masters, sum);
      to.setFrozenScale(id, kernels.formWeights(sum, "b1.58", after));
    } else {
      for (let i = 0; i < sum.length; i++) {
        const x = (before.trits[i] ?? 0) + (sum[i] ?? 0) / before.scale;
        after[i] = Number(x > 0.5) - Number(x < -0.5);
      }
    }
    for (let i = 0; i < after.length; i++) if (after[i] !== before.trits[i]) nChanged++;
    nTrits += after.length;
  }
  return { nTrits, nChanged };
}

function meanLoss(executor: Executor, batches: readonly MicroBatch[]): number {
  let [sum, weight] = [0, 0];
  for (const batch of batches) {
    const loss = executor.loss(batch);
    sum += loss.sum;
    weight += loss.weight;
  }
  return weight === 0 ? Number.NaN : sum / weight;
}

function meanDivergence(p: Executor, q: Executor, batches: readonly MicroBatch[]): number {
  let [sum, weight] = [0, 0];
  const vocab = p.graph.vocabSize;
  for (const batch of batches) {
    p.forward(batch);
    q.forward(batch);
    for (let first = 0; first < batch.ids.length; first += chainLength) {
      const count = Math.min(chainLength, batch.ids.length - first);
      const [a, b] = [p.logits(first, count), q.logits(first, count)];
      for (let row = 0; row < count; row++) {
        const counted = batch.weights[first + row] ?? 0;
        if (counted === 0) continue;
        const cut = (logits: Floats) => logits.subarray(row * vocab, (row + 1) * vocab);
        sum += counted * divergence(cut(a), cut(b));
        weight += counted;
      }
    }
  }
  return weight === 0 ? Number.NaN : sum / weight;
}

/** Σ p · (log p − log q) of two rows of logits, in f64. */
function divergence(a: Floats, b: Floats): number {
  const [normA, normB] = [logSumExp(a), logSumExp(b)];
  let sum = 0;
  for (let i = 0; i < a.length; i++) {
    const logP = (a[i] ?? 0) - normA;
    sum += Math.exp(logP) * (logP - ((b[i] ?? 0) - normB));
  }
  return Math.max(0, sum);
}

function logSumExp(logits: Floats): number {
  let highest = Number.NEGATIVE_INFINITY;
  for (const x of logits) highest = Math.max(highest, x);
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - highest);
  return highest + Math.log(sum);
}
