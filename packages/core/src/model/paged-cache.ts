/**
 * Hands out the pages of a KV arena to sequences. Equal prefixes share pages by reference count; pages that nobody
 * references any more stay in an index until their room is needed (least recently used first). Only rows that a completed
 * run has written are ever shared: sequences report them with `commit`. Knows nothing of scheduling or of what a page holds.
 *
 * Two orders keep the index whole: a sequence that references a page references all pages before it, and pages are
 * released last to first, so the least recently used unreferenced page never has a child in the index.
 */
import { pageTokens } from "../backend/backend.ts";
import { BitNetError } from "../base/errors.ts";
import { type IndexedPage, PrefixIndex } from "./paged-index.ts";

/** A page to copy before the sequence's next rows are written. */
interface PageCopy {
  readonly from: number;
  readonly to: number;
}

/** The pages of one sequence. The cache owns and changes it; others only read. */
export interface PagedSequence {
  /** Position p lies in page `pages[⌊p / pageTokens⌋]`. */
  readonly pages: number[];
  /** Rows that need no computing: written by completed runs, or shared. Those of `copy` count once it has been done. */
  written: number;
  /** Must be part of every step that runs rows of this sequence, until `commit`. */
  copy: PageCopy | null;
  /** The last full page among the written rows. */
  tip: IndexedPage;
  /** Shared rows that no commit has confirmed yet. */
  unconfirmed: number;
  isClosed: boolean;
}

interface PagedCacheStats {
  /** Pages that a sequence references. */
  pagesInUse: number;
  /** Pages kept only because a later sequence may share them. */
  pagesCached: number;
  pagesFree: number;
  /** Rows that sequences took from the cache instead of computing them. */
  rowsSkipped: number;
}

/** Copying a page of all layers costs about as much as computing a few rows. */
const leastCopied = 4;

export class PagedCache {
  readonly nPages: number;
  readonly #index = new PrefixIndex();
  readonly #refs: Int32Array;
  /** By page: its place in the index. */
  readonly #indexed: (IndexedPage | undefined)[];
  /** Indexed pages without references, least recently used first. */
  readonly #idle = new Set<number>();
  /** Free pages whose memory has been touched, and those whose memory is the system's. */
  readonly #freeTouched: number[] = [];
  readonly #freeClean: number[];
  #rowsSkipped = 0;

  /** @throws BitNetError INVALID_ARGUMENT unless `nPages` is a positive integer. */
  constructor(nPages: number) {
    if (!Number.isSafeInteger(nPages) || nPages < 1)
      throw new BitNetError("INVALID_ARGUMENT", `nPages: expected a positive integer, found ${nPages}`);
    this.nPages = nPages;
    this.#refs = new Int32Array(nPages);
    this.#indexed = new Array<IndexedPage | undefined>(nPages).fill(undefined);
    this.#freeClean = Array.from({ length: nPages }, (_, i) => nPages - 1 - i);
  }

  get stats(): PagedCacheStats {
    const pagesFree = this.#freeTouched.length + this.#freeClean.length;
    return {
      pagesInUse: this.nPages - pagesFree - this.#idle.size,
      pagesCached: this.#idle.size,
      pagesFree,
      rowsSkipped: this.#rowsSkipped,
    };
  }

  /** Pages that `reserve` could hand out now. */
  get nObtainable(): number {
    return this.#freeTouched.length + this.#freeClean.length + this.#idle.size;
  }

  /** A new sequence, which shares what it can of the first `limit` tokens with sequences of equal `salt`. */
  open(tokens: ArrayLike<number>, limit: number, salt = ""): PagedSequence {
    const sequence: PagedSequence = {
      pages: [],
      written: 0,
      copy: null,
      tip: this.#index.rootOf(salt),
      unconfirmed: 0,
      isClosed: false,
    };
    this.shareFull(sequence, tokens, limit);
    this.sharePartial(sequence, tokens, limit);
    return sequence;
  }

  /**
   * Takes over full pages that other sequences have written, in place of rows not yet computed; also in place of the page
   * that the sequence is at work on. `limit`: rows from there on are to be computed whatever is cached.
   */
  shareFull(sequence: PagedSequence, tokens: ArrayLike<number>, limit: number): void {
    for (let from = pageStart(sequence.written); from + pageTokens <= limit; from += pageTokens) {
      const hit = this.#index.findFull(sequence.tip, tokens, from);
      if (hit === undefined) return;
      this.#giveUpCopy(sequence);
      this.#retain(hit.page);
      this.#place(sequence, from / pageTokens, hit.page);
      sequence.tip = hit;
      sequence.unconfirmed += from + pageTokens - sequence.written;
      sequence.written = from + pageTokens;
    }
  }

  /** Shares the beginning of one more page by copying it, when some cached page begins alike. */
  sharePartial(sequence: PagedSequence, tokens: ArrayLike<number>, limit: number): void {
    if (sequence.copy !== null || sequence.written % pageTokens !== 0) return;
    const from = sequence.written;
    // A whole page is never copied: shareFull takes it as it is.
    const to = Math.min(limit, from + pageTokens - 1);
    const match = this.#index.findLongest(sequence.tip, tokens, from, to);
    if (match === undefined || match.length < leastCopied) return;
    this.#retain(match.node.page);
    const page = sequence.pages[from / pageTokens] ?? this.#take();
    if (page === undefined) {
      this.#release(match.node.page);
      return;
    }
    sequence.pages[from / pageTokens] = page;
    sequence.copy = { from: match.node.page, to: page };
    sequence.written += match.length;
    sequence.unconfirmed += match.length;
  }

  /**
   * Makes room for positions below `nRows`, evicting cached pages as needed. When there is too little, a copy not yet done
   * is given up for the page that it reads.
   * @returns false when the pages cannot be had; then none has been taken.
   */
  reserve(sequence: PagedSequence, nRows: number): boolean {
    const missing = Math.ceil(nRows / pageTokens) - sequence.pages.length;
    if (missing > this.nObtainable) this.#giveUpCopy(sequence);
    if (missing > this.nObtainable) return false;
    for (let i = 0; i < missing; i++) {
      const page = this.#take();
      if (page === undefined)
        throw new BitNetError("INTERNAL", "paged cache: a page counted as obtainable is not");
      sequence.pages.push(page);
    }
    return true;
  }

  /** Reports that a run has completed which wrote all rows below `written`: from now on they may be shared. */
  commit(sequence: PagedSequence, tokens: ArrayLike<number>, written: number): void {
    this.#rowsSkipped += sequence.unconfirmed;
    sequence.unconfirmed = 0;
    if (sequence.copy !== null) this.#release(sequence.copy.from);
    sequence.copy = null;
    for (let from = pageStart(sequence.written); from + pageTokens <= written; from += pageTokens)
      this.#publish(sequence, tokens, from);
    sequence.written = written;
  }

  /** Gives up the sequence. Its written rows stay cached, an unfinished last page included. */
  close(sequence: PagedSequence, tokens: ArrayLike<number>): void {
    if (sequence.isClosed) return;
    sequence.isClosed = true;
    this.#giveUpCopy(sequence);
    this.#publishUnfinished(sequence, tokens);
    for (const page of sequence.pages.toReversed()) this.#release(page);
    sequence.pages.length = 0;
  }

  /**
   * Whether `a`, which runs in the next step, is on its way to complete the very page that `b` needs next, so that `b` had
   * better wait and share it. The limit is that of `shareFull`.
   */
  computesNextPage(
    a: { sequence: PagedSequence; tokens: ArrayLike<number> },
    b: { sequence: PagedSequence; tokens: ArrayLike<number>; limit: number },
  ): boolean {
    if (a.sequence.tip !== b.sequence.tip || a.sequence.written < b.sequence.written) return false;
    const from = pageStart(b.sequence.written);
    const end = from + pageTokens;
    if (end > b.limit || end > a.tokens.length) return false;
    for (let i = from; i < end; i++) if (a.tokens[i] !== b.tokens[i]) return false;
    return true;
  }

  /** Forgets every page that nobody references. */
  dropCached(): void {
    for (const page of this.#idle) this.#forget(page);
    this.#idle.clear();
  }

  /**
   * Free pages whose memory can go back to the system (`Executable.releasePages`), when there are at least `minimum`.
   * The caller must release them before the next run.
   */
  takeReleasable(minimum: number): Int32Array | null {
    if (this.#freeTouched.length < Math.max(minimum, 1)) return null;
    const pages = Int32Array.from(this.#freeTouched);
    for (const page of this.#freeTouched) this.#freeClean.push(page);
    this.#freeTouched.length = 0;
    return pages;
  }

  /** Moves a full page that has been written into the index, or exchanges it for the equal one that is there. */
  #publish(sequence: PagedSequence, tokens: ArrayLike<number>, from: number): void {
    const slot = from / pageTokens;
    const known = this.#index.findFull(sequence.tip, tokens, from);
    if (known !== undefined) {
      this.#retain(known.page);
      this.#place(sequence, slot, known.page);
      sequence.tip = known;
      return;
    }
    sequence.tip = this.#add(sequence, slot, copyTokens(tokens, from, from + pageTokens));
  }

  #publishUnfinished(sequence: PagedSequence, tokens: ArrayLike<number>): void {
    const from = pageStart(sequence.written);
    if (from === sequence.written) return;
    const known = this.#index.findLongest(sequence.tip, tokens, from, sequence.written);
    if (known?.length === sequence.written - from) return;
    this.#add(sequence, from / pageTokens, copyTokens(tokens, from, sequence.written));
  }

  #add(sequence: PagedSequence, slot: number, tokens: Int32Array): IndexedPage {
    const page = sequence.pages[slot];
    if (page === undefined)
      throw new BitNetError(
        "INTERNAL",
        `paged cache: rows were written to page ${slot} of ${sequence.pages.length}`,
      );
    const node = this.#index.add(sequence.tip, page, tokens);
    this.#indexed[page] = node;
    return node;
  }

  /** Gives back the rows that a copy still to be done would have brought. */
  #giveUpCopy(sequence: PagedSequence): void {
    if (sequence.copy === null) return;
    this.#release(sequence.copy.from);
    sequence.copy = null;
    const nCopied = sequence.written % pageTokens;
    sequence.written -= nCopied;
    sequence.unconfirmed -= nCopied;
  }

  /** Puts a page that is already retained into the table, in place of the one that stood there. */
  #place(sequence: PagedSequence, slot: number, page: number): void {
    const former = sequence.pages[slot];
    sequence.pages[slot] = page;
    if (former !== undefined) this.#release(former);
  }

  #take(): number | undefined {
    const page = this.#freeTouched.pop() ?? this.#freeClean.pop() ?? this.#evict();
    if (page !== undefined) this.#refs[page] = 1;
    return page;
  }

  #evict(): number | undefined {
    const oldest = this.#idle.values().next();
    if (oldest.done) return undefined;
    this.#idle.delete(oldest.value);
    this.#forget(oldest.value);
    return this.#freeTouched.pop();
  }

  /** Takes an unreferenced page out of the index. */
  #forget(page: number): void {
    const node = this.#indexed[page];
    if (node !== undefined) this.#index.remove(node);
    this.#indexed[page] = undefined;
    this.#freeTouched.push(page);
  }

  #retain(page: number): void {
    const refs = this.#refs[page] ?? 0;
    if (refs === 0) this.#idle.delete(page);
    this.#refs[page] = refs + 1;
  }

  #release(page: number): void {
    const refs = (this.#refs[page] ?? 0) - 1;
    if (refs < 0) throw new BitNetError("INTERNAL", `paged cache: page ${page} was released once too often`);
    this.#refs[page] = refs;
    if (refs > 0) return;
    if (this.#indexed[page] === undefined) this.#freeTouched.push(page);
    else this.#idle.add(page);
  }
}

/** First position of the page that holds `position`. */
function pageStart(position: number): number {
  return position - (position % pageTokens);
}

function copyTokens(tokens: ArrayLike<number>, from: number, to: number): Int32Array {
  const copy = new Int32Array(to - from);
  for (let i = from; i < to; i++) copy[i - from] = tokens[i] ?? 0;
  return copy;
}
