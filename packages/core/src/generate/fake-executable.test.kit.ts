/**
 * An executable without a model, for tests of the scheduler. Its arena remembers which token was written at which position
 * of which page, and every logit is a hash of the tokens found through the page table. So a wrong page, position, copy
 * or shared prefix changes the tokens, and what a correct backend would silently accept (rows never written, rows of another
 * prefix, writing to a shared page, two runs at once) is an error here.
 */
import {
  type Executable,
  type LoadOptions,
  type MemoryReport,
  type OwnReports,
  pageTokens,
} from "../backend/backend.ts";
import type { Program } from "../backend/program.ts";
import { answerHead, headWants } from "../backend/reference/head.ts";
import type { HeadRequest, HeadResult, HeadWantKind, Step, StepResult } from "../backend/step.ts";
import { validateStep } from "../backend/validate.ts";
import { BitNetError } from "../base/errors.ts";
import type { GenerateSettings } from "./options.ts";
import { Sampler } from "./sampler.ts";

export interface FakeOptions {
  nPages: number;
  maxRows?: number;
  contextLength?: number;
  vocabSize?: number;
  /** Kinds of head requests it answers; by default all. */
  wants?: readonly HeadWantKind[];
  /** Logits after these tokens; by default pseudo-random ones. */
  logitsOf?: (history: readonly number[]) => Float32Array;
  /** How heads are answered; by default as the reference does. */
  answer?: (request: HeadRequest, logits: Float32Array) => HeadResult;
  /** Steps that follow one another without asking; default 1. */
  mostChained?: number;
  /** Fails the step when a row ends this history. */
  failsOn?: (history: readonly number[]) => BitNetError | null;
}

interface Slot {
  token: number;
  position: number;
  /** Hash of the tokens up to here when the row was computed: what a real cache depends on. */
  history: number;
}

function mix(hash: number, value: number): number {
  const h = Math.imul(hash ^ value, 0x85ebca6b);
  return h ^ (h >>> 13);
}

/** Logits in −8 … 8 with ties now and then. */
export function hashedLogits(history: readonly number[], vocabSize: number): Float32Array {
  let hash = 17;
  for (const token of history) hash = mix(hash, token + 1);
  return Float32Array.from({ length: vocabSize }, (_, id) => ((mix(mix(hash, id), 99) >>> 20) - 2048) / 256);
}

/** Logits that make `id` the only sensible choice. */
export function peak(id: number, vocabSize: number): Float32Array {
  return new Float32Array(vocabSize).fill(-40).fill(40, id, id + 1);
}

/** Steps that may follow on a request, itself included, as the contract has it. */
function chainOf({ want }: HeadRequest): number {
  if (want.kind === "top" && want.k === 1) return Number.POSITIVE_INFINITY;
  return want.kind === "draw" ? 1 + (want.leaving?.length ?? 0) : 1;
}

/** What is asked of the next step of a chain, once a token was drawn. */
function following(head: HeadRequest, token: number): HeadRequest {
  const { want, apart = new Int32Array() } = head;
  if (want.kind !== "draw") return head;
  const counts = new Map([...apart].map((id, i) => [id, want.counts[i] ?? 0]));
  const biases = new Map([...apart].map((id, i) => [id, want.biases[i] ?? 0]));
  const [leaves = -1] = want.leaving ?? [];
  counts.set(token, (counts.get(token) ?? 0) + 1);
  if (leaves >= 0) counts.set(leaves, (counts.get(leaves) ?? 0) - 1);
  const ids = Int32Array.from(counts.keys());
  const next = {
    ...want,
    index: want.index + 1,
    counts: ids.map((id) => counts.get(id) ?? 0),
    biases: Float32Array.from(ids, (id) => biases.get(id) ?? 0),
    leaving: want.leaving?.slice(1) ?? new Int32Array(),
  };
  return { ...head, want: next, apart: ids };
}

export class FakeExecutable implements Executable {
  readonly program: Program;
  readonly wants: readonly HeadWantKind[];
  readonly mostChained: number;
  readonly steps: Step[] = [];
  /** Of each chain, how many steps it was asked for. */
  readonly chains: number[] = [];
  isDisposed = false;
  nReleased = 0;
  readonly #options: Required<Omit<FakeOptions, "failsOn">> & Pick<FakeOptions, "failsOn">;
  readonly #pages: (Slot | undefined)[][];
  #isRunning = false;
  #gate: Promise<void> | null = null;

  constructor(options: FakeOptions) {
    const vocabSize = options.vocabSize ?? 64;
    this.#options = {
      maxRows: 512,
      contextLength: 4096,
      logitsOf: (history) => hashedLogits(history, vocabSize),
      answer: answerHead,
      vocabSize,
      wants: headWants,
      mostChained: 1,
      ...options,
    };
    this.wants = this.#options.wants;
    this.mostChained = this.#options.mostChained;
    this.program = {
      name: "fake",
      contextLength: this.#options.contextLength,
      vocabSize,
      sources: [],
      buffers: [{ class: "kv", name: "kv", nKvHeads: 1, headDim: 2 }],
      ops: [
        { op: "embed", table: 0, out: 0 },
        { op: "head", x: 0, weight: 0, eps: 0, table: 0 },
      ],
    };
    this.#pages = Array.from({ length: options.nPages }, () => new Array<Slot | undefined>(pageTokens));
  }

  get rowsRun(): number {
    return this.steps.reduce((sum, step) => sum + step.tokens.length, 0);
  }

  /** Keeps runs from ending until the returned function is called. */
  hold(): () => void {
    let open = () => {};
    this.#gate = new Promise((resolve) => {
      open = resolve;
    });
    return () => {
      this.#gate = null;
      open();
    };
  }

  async run(step: Step): Promise<StepResult> {
    if (this.isDisposed) throw new BitNetError("DISPOSED", "fake: disposed");
    if (this.#isRunning) throw new Error("two runs at once");
    this.#isRunning = true;
    try {
      const { nPages, maxRows } = this.#options;
      const options: LoadOptions = { kvType: "f16", nPages, maxRows };
      validateStep(this.program, options, step);
      await this.#gate;
      this.#write(step);
      const result = this.#answer(step);
      this.steps.push(step);
      return result;
    } finally {
      this.#isRunning = false;
    }
  }

  async runChain(step: Step, count: number): Promise<StepResult[]> {
    this.chains.push(count);
    const { nPages, maxRows } = this.#options;
    const last = { ...step, positions: step.positions.map((position) => position + count - 1) };
    validateStep(this.program, { kvType: "f16", nPages, maxRows }, last);
    const results: StepResult[] = [];
    const most = step.heads.reduce((least, head) => Math.min(least, chainOf(head)), this.mostChained);
    for (let next = step; results.length < Math.min(count, most); ) {
      const result = await this.run(next).catch((error: unknown) => {
        if (results.length === 0) throw error;
      });
      if (result === undefined) break;
      results.push(result);
      const { pageCopies: _, ...rest } = next;
      next = {
        ...rest,
        tokens: Int32Array.from(result.heads, ({ ids }) => ids[0] ?? -1),
        positions: next.positions.map((position) => position + 1),
        heads: next.heads.map((head, i) => following(head, result.heads[i]?.ids[0] ?? -1)),
      };
    }
    return results;
  }

  releasePages(pages: Int32Array): void {
    if (this.#isRunning) throw new Error("pages released during a run");
    this.nReleased += pages.length;
    for (const page of pages) this.#page(page).fill(undefined);
  }

  memory(): MemoryReport {
    return { privateBytes: 0, mappedBytes: 0, kvBytesPerToken: 0 };
  }

  reports(): OwnReports {
    return {};
  }

  async dispose(): Promise<void> {
    if (this.#isRunning) throw new Error("disposed during a run");
    this.isDisposed = true;
  }

  #write(step: Step): void {
    const copies = step.pageCopies ?? new Int32Array();
    for (let i = 0; i < copies.length; i += 2) {
      const from = this.#page(copies[i] ?? -1);
      this.#pages[copies[i + 1] ?? -1] = from.slice();
    }
    step.tokens.forEach((token, row) => {
      const position = step.positions[row] ?? -1;
      const table = step.pageTables[step.sequences[row] ?? -1] ?? new Int32Array();
      const page = table[Math.floor(position / pageTokens)] ?? -1;
      if (step.pageTables.filter((other) => other.includes(page)).length > 1)
        throw new Error(`row ${row} writes to page ${page}, which another sequence reads`);
      const before = position === 0 ? 17 : (this.#slot(table, position - 1)?.history ?? 0);
      this.#page(page)[position % pageTokens] = { token, position, history: mix(before, token + 1) };
    });
  }

  #answer(step: Step): StepResult {
    const histories = new Map<number, number[]>();
    step.tokens.forEach((_, row) => {
      const isLast = step.sequences[row + 1] !== step.sequences[row];
      if (!isLast && !step.heads.some((head) => head.row === row) && !this.#options.failsOn) return;
      const history = this.#read(step, row);
      const failure = this.#options.failsOn?.(history);
      if (failure)
        throw new BitNetError(failure.code, failure.message, {
          details: failure.details.named ? { row } : {},
        });
      histories.set(row, history);
    });
    const heads = step.heads.map((head) =>
      this.#options.answer(head, this.#options.logitsOf(histories.get(head.row) ?? [])),
    );
    return { heads, outputs: [] };
  }

  /** The tokens that the row attends to, found through its page table. */
  #read(step: Step, row: number): number[] {
    const table = step.pageTables[step.sequences[row] ?? -1] ?? new Int32Array();
    const tokens: number[] = [];
    let history = 17;
    for (let p = 0; p <= (step.positions[row] ?? -1); p++) {
      const slot = this.#slot(table, p);
      if (slot === undefined) throw new Error(`row ${row} reads position ${p}, which was never written`);
      history = mix(history, slot.token + 1);
      if (slot.position !== p || slot.history !== history)
        throw new Error(`row ${row} reads position ${p} of another prefix`);
      tokens.push(slot.token);
    }
    return tokens;
  }

  #slot(table: Int32Array, position: number): Slot | undefined {
    return this.#page(table[Math.floor(position / pageTokens)] ?? -1)[position % pageTokens];
  }

  #page(page: number): (Slot | undefined)[] {
    const slots = this.#pages[page];
    if (slots === undefined) throw new Error(`page ${page} does not exist`);
    return slots;
  }
}

/** What a generation gives when it is alone: one token after the other, without pages, batches or chunks. */
export function generateAlone(
  prompt: readonly number[],
  settings: GenerateSettings,
  {
    vocabSize = 64,
    contextLength = 4096,
    eosId = -1,
    logitsOf = (history: readonly number[]) => hashedLogits(history, vocabSize),
  } = {},
): number[] {
  const sampler = new Sampler(settings.sampling, { vocabSize, contextLength }, null);
  for (const token of prompt) sampler.see(token);
  const ids: number[] = [];
  while (ids.length < settings.maxTokens && prompt.length + ids.length < contextLength) {
    const logits = logitsOf([...prompt, ...ids]);
    const choose = () => sampler.choose(answerHead(sampler.request(0, ids.length), logits), ids.length);
    const id = choose() ?? choose();
    if (id === null) throw new Error("all logits leave the choice open");
    if (id === eosId || settings.stopTokens.has(id)) break;
    ids.push(id);
    sampler.see(id);
  }
  return ids;
}
