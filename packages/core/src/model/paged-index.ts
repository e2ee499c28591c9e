/**
 * Finds pages of the KV arena whose contents can be shared: a tree in which every page is the child of the page before it
 * in its sequence. Full pages are looked up by a hash chained over parent and tokens, and a hit is verified token by token.
 * Knows nothing of reference counts or eviction.
 */
import { pageTokens } from "../backend/backend.ts";

/** A page with written rows, and the pages that have been seen after it. */
export interface IndexedPage {
  /** Page of the arena; −1 for the root. */
  readonly page: number;
  /** The page before it; null for the root and for a page taken out of the index. */
  parent: IndexedPage | null;
  /** Tokens of the written rows; fewer than `pageTokens` for a page that a sequence left unfinished. */
  readonly tokens: Int32Array;
  readonly hash: number;
  readonly children: IndexedPage[];
}

interface PrefixMatch {
  readonly node: IndexedPage;
  /** Rows that agree. */
  readonly length: number;
}

/** Hash of a page: of all tokens from the start of its sequence, given the hash of the page before. Signed 32-bit. */
export function chainHash(parent: number, tokens: ArrayLike<number>, from: number, to: number): number {
  let hash = parent ^ 0x2545f491;
  for (let i = from; i < to; i++) {
    hash = Math.imul(hash ^ (tokens[i] ?? 0), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** How many of `node`'s tokens equal `tokens` from `from` on, `to` exclusive. */
function commonLength(node: IndexedPage, tokens: ArrayLike<number>, from: number, to: number): number {
  const limit = Math.min(node.tokens.length, to - from);
  let length = 0;
  while (length < limit && node.tokens[length] === tokens[from + length]) length++;
  return length;
}

export class PrefixIndex {
  /** Roots by salt: pages below different roots are never shared. One without children may go at any time. */
  readonly #roots = new Map<string, IndexedPage>();
  /** Full pages by hash. */
  readonly #full = new Map<number, IndexedPage[]>();
  #sweepAt = 64;

  rootOf(salt: string): IndexedPage {
    const known = this.#roots.get(salt);
    if (known !== undefined) return known;
    if (this.#roots.size >= this.#sweepAt) this.#sweep();
    const root: IndexedPage = { page: -1, parent: null, tokens: new Int32Array(), hash: 0, children: [] };
    this.#roots.set(salt, root);
    return root;
  }

  #sweep(): void {
    for (const [salt, root] of this.#roots) if (root.children.length === 0) this.#roots.delete(salt);
    this.#sweepAt = Math.max(64, 2 * this.#roots.size);
  }

  /** The full page that holds `tokens[from … from + pageTokens)` after `parent`. */
  findFull(parent: IndexedPage, tokens: ArrayLike<number>, from: number): IndexedPage | undefined {
    const hash = chainHash(parent.hash, tokens, from, from + pageTokens);
    return this.#full
      .get(hash)
      ?.find(
        (node) =>
          node.parent === parent && commonLength(node, tokens, from, from + pageTokens) === pageTokens,
      );
  }

  /** The child of `parent`, full or not, that agrees longest with `tokens[from … to)`; undefined when none agrees at all. */
  findLongest(
    parent: IndexedPage,
    tokens: ArrayLike<number>,
    from: number,
    to: number,
  ): PrefixMatch | undefined {
    let best: PrefixMatch | undefined;
    for (const node of parent.children) {
      const length = commonLength(node, tokens, from, to);
      if (length > (best?.length ?? 0)) best = { node, length };
    }
    return best;
  }

  /** `tokens` is kept, not copied. */
  add(parent: IndexedPage, page: number, tokens: Int32Array): IndexedPage {
    const hash = chainHash(parent.hash, tokens, 0, tokens.length);
    const node: IndexedPage = { page, parent, tokens, hash, children: [] };
    parent.children.push(node);
    if (tokens.length === pageTokens) {
      const bucket = this.#full.get(hash);
      if (bucket === undefined) this.#full.set(hash, [node]);
      else bucket.push(node);
    }
    return node;
  }

  /** Takes out a page without children. */
  remove(node: IndexedPage): void {
    if (node.parent !== null) drop(node.parent.children, node);
    node.parent = null;
    const bucket = this.#full.get(node.hash);
    if (bucket === undefined) return;
    drop(bucket, node);
    if (bucket.length === 0) this.#full.delete(node.hash);
  }
}

/** Removes `node` by moving the last one to its place. */
function drop(nodes: IndexedPage[], node: IndexedPage): void {
  const at = nodes.indexOf(node);
  const last = nodes.pop();
  if (at >= 0 && last !== undefined && last !== node) nodes[at] = last;
  else if (at < 0 && last !== undefined) nodes.push(last);
}
