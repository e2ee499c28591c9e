/**
 * Paged KV cache and causal attention of the reference backend. Values are stored as f32, already rounded through the cache's
 * type; pages come into being when they are first written.
 */
import { expF32 } from "../../base/elementary.ts";
import { f16ToF32, f32ToF16Saturating } from "../../base/float16.ts";
import { fma } from "../../base/fma.ts";
import { type KvType, pageTokens } from "../backend.ts";
import { dot, foldStripes } from "./rows.ts";

const f32 = Math.fround;
/** Positions per block of value accumulation. */
const blockPositions = 256;

export interface KvShape {
  nKvHeads: number;
  headDim: number;
}

/** One layer's keys and values: per page [pageTokens, nKvHeads, headDim] each. */
export class KvLayer {
  readonly shape: KvShape;
  private readonly kvType: KvType;
  private readonly pages = new Map<number, { keys: Float32Array; values: Float32Array }>();

  constructor(shape: KvShape, kvType: KvType) {
    this.shape = shape;
    this.kvType = kvType;
  }

  get nPages(): number {
    return this.pages.size;
  }

  page(index: number): { keys: Float32Array; values: Float32Array } {
    let page = this.pages.get(index);
    if (!page) {
      const length = pageTokens * this.shape.nKvHeads * this.shape.headDim;
      page = { keys: new Float32Array(length), values: new Float32Array(length) };
      this.pages.set(index, page);
    }
    return page;
  }

  write(table: Int32Array, position: number, key: Float32Array, value: Float32Array): void {
    const page = this.page(table[Math.floor(position / pageTokens)] ?? -1);
    const offset = (position % pageTokens) * key.length;
    for (let i = 0; i < key.length; i++) {
      page.keys[offset + i] = this.throughCache(key[i] as number);
      page.values[offset + i] = this.throughCache(value[i] as number);
    }
  }

  copy(from: number, to: number): void {
    const source = this.page(from);
    const target = this.page(to);
    target.keys.set(source.keys);
    target.values.set(source.values);
  }

  release(index: number): void {
    this.pages.delete(index);
  }

  private throughCache(x: number): number {
    return this.kvType === "f16" ? f16ToF32(f32ToF16Saturating(x)) : x;
  }
}

export interface AttentionRow {
  q: Float32Array; // [nHeads · headDim]
  out: Float32Array; // [nHeads · headDim]
  table: Int32Array;
  position: number;
  nHeads: number;
  scale: number;
  /** How many of the last positions count; 0: all. */
  window: number;
}

/** Attention of one row over the positions of its sequence up to its own, as far as the window reaches. */
export function attend(layer: KvLayer, row: AttentionRow): void {
  const { headDim, nKvHeads } = layer.shape;
  const nKeys = row.position + 1;
  const first = row.window > 0 ? Math.max(0, nKeys - row.window) : 0;
  const scores = new Float32Array(nKeys);
  for (let head = 0; head < row.nHeads; head++) {
    const kvHead = Math.floor(head / (row.nHeads / nKvHeads));
    let max = Number.NEGATIVE_INFINITY;
    for (let j = first; j < nKeys; j++) {
      const { keys } = layer.page(row.table[Math.floor(j / pageTokens)] ?? -1);
      const offset = ((j % pageTokens) * nKvHeads + kvHead) * headDim;
      const score = dot(row.q, head * headDim, keys, offset, headDim);
      scores[j] = score;
      max = Math.max(max, score);
    }
    const scaledMax = f32(max * row.scale);
    const chains = new Float32Array(16);
    for (let j = first; j < nKeys; j++) {
      const p = expF32(fma(scores[j] as number, row.scale, -scaledMax));
      scores[j] = p;
      chains[j & 15] = (chains[j & 15] as number) + p;
    }
    const denominator = foldStripes(chains);
    const total = weighValues(layer, row.table, kvHead, scores, first);
    for (let d = 0; d < headDim; d++) row.out[head * headDim + d] = (total[d] as number) / denominator;
  }
}

/** Σ p_j · v_j per element from position `first` on, in blocks of 256 absolute positions. */
function weighValues(
  layer: KvLayer,
  table: Int32Array,
  kvHead: number,
  p: Float32Array,
  first: number,
): Float32Array {
  const { headDim, nKvHeads } = layer.shape;
  const total = new Float32Array(headDim);
  const block = new Float32Array(headDim);
  for (let start = 0; start < p.length; start += blockPositions) {
    block.fill(0);
    for (let j = Math.max(start, first); j < Math.min(p.length, start + blockPositions); j++) {
      const { values } = layer.page(table[Math.floor(j / pageTokens)] ?? -1);
      const offset = ((j % pageTokens) * nKvHeads + kvHead) * headDim;
      for (let d = 0; d < headDim; d++)
        block[d] = fma(p[j] as number, values[offset + d] as number, block[d] as number);
    }
    for (let d = 0; d < headDim; d++) total[d] = (total[d] as number) + (block[d] as number);
  }
  return total;
}
