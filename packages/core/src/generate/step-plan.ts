/**
 * Packs rows of several requests into one Step, and divides the room of a step among prompts. Knows nothing of when or why
 * a request runs.
 */
import type { Executable } from "../backend/backend.ts";
import type { HeadRequest, HeadResult, Step, StepResult } from "../backend/step.ts";
import { BitNetError } from "../base/errors.ts";
import type { PagedSequence } from "../model/paged-cache.ts";
import type { ScheduledRequest } from "./scheduled.ts";

/** Rows that a step runs of one request: positions `from … from + count)`. */
export interface PlannedRows {
  readonly request: ScheduledRequest;
  readonly sequence: PagedSequence;
  readonly from: number;
  readonly count: number;
  /** Row of the step that holds position `from`. */
  readonly firstRow: number;
  /** How many of the step's head requests belong to these rows; they follow those of the parts before. */
  readonly nHeads: number;
}

export interface StepPlan {
  readonly step: Step;
  readonly parts: readonly PlannedRows[];
  /** Steps that may follow on it at once, itself included: one row of each request, whose tokens can be foreseen. */
  readonly nForeseen: number;
}

/** Rows of a request that a step has run: those before `end` count, and their heads' answers. */
export interface SettledRows {
  readonly request: ScheduledRequest;
  readonly end: number;
  readonly heads: readonly HeadResult[];
  /** Why no token can be chosen. */
  readonly error: { value: unknown } | null;
}

/** One request cannot say what it needs; the others can go on without it. */
export class RequestFault extends Error {
  readonly request: ScheduledRequest;

  constructor(request: ScheduledRequest, cause: unknown) {
    super("a request failed while it was planned", { cause });
    this.request = request;
  }
}

function headsOf(request: ScheduledRequest, from: number, count: number, row: number): HeadRequest[] {
  try {
    return request.headRequests(from, count, row);
  } catch (error) {
    throw new RequestFault(request, error);
  }
}

/**
 * @param counts Rows to run per request; every request holds pages for them.
 * @throws RequestFault when asking a request fails, such as in a caller's mask.
 */
export function planStep(counts: ReadonlyMap<ScheduledRequest, number>, nForeseen = 1): StepPlan {
  const nRows = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const tokens = new Int32Array(nRows);
  const positions = new Int32Array(nRows);
  const sequences = new Int32Array(nRows);
  const hasAdapters = [...counts.keys()].some(({ adapter }) => adapter >= 0);
  const adapters = hasAdapters ? { adapters: new Int32Array(nRows).fill(-1) } : {};
  const pageTables: Int32Array[] = [];
  const pageCopies: number[] = [];
  const heads: HeadRequest[] = [];
  const parts: PlannedRows[] = [];
  let row = 0;
  for (const [request, count] of counts) {
    const { sequence } = request;
    if (sequence === null)
      throw new BitNetError("INTERNAL", "scheduler: a request without pages was planned");
    const from = sequence.written;
    const ownHeads = headsOf(request, from, count, row);
    parts.push({ request, sequence, from, count, firstRow: row, nHeads: ownHeads.length });
    for (const head of ownHeads) heads.push(head);
    adapters.adapters?.fill(request.adapter, row, row + count);
    for (let i = 0; i < count; i++, row++) {
      tokens[row] = request.tokens[from + i] ?? 0;
      positions[row] = from + i;
      sequences[row] = pageTables.length;
    }
    pageTables.push(new Int32Array(sequence.pages));
    if (sequence.copy !== null) pageCopies.push(sequence.copy.from, sequence.copy.to);
  }
  const copies = pageCopies.length > 0 ? { pageCopies: Int32Array.from(pageCopies) } : {};
  return {
    step: { tokens, positions, sequences, ...adapters, pageTables, heads, ...copies },
    parts,
    nForeseen,
  };
}

/** Runs a plan, and the foreseen steps behind it where the executable offers that; the results in order. */
export async function runPlan(
  executable: Executable,
  { step, nForeseen }: StepPlan,
): Promise<readonly StepResult[]> {
  return nForeseen > 1 && executable.runChain !== undefined
    ? executable.runChain(step, nForeseen)
    : [await executable.run(step)];
}

/**
 * A step that has followed on a foreseen one, for those of its requests that still run, with their answers; none when all have ended.
 * @param heads Answers for every request of `plan`.
 */
export function followUp(
  { parts }: StepPlan,
  heads: readonly HeadResult[],
): { plan: StepPlan; heads: HeadResult[] }[] {
  const isRunning = parts.map(({ request }) => request.state === "running");
  const running = parts.filter((_, i) => isRunning[i]);
  if (running.length === 0) return [];
  const plan = planStep(new Map(running.map(({ request }) => [request, 1])));
  return [{ plan, heads: heads.filter((_, i) => isRunning[i]) }];
}

/**
 * Divides `room` rows among prompts of the given lengths, as evenly as their lengths allow; those at the front get a row
 * first when there is less than one for each.
 * @returns Rows per prompt, in the order of `lengths`.
 */
export function shareRows(lengths: readonly number[], room: number): number[] {
  const shares = lengths.map(() => 0);
  const byLength = lengths.map((_, i) => i).slice(0, Math.max(room, 0));
  byLength.sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0));
  let left = room;
  byLength.forEach((i, done) => {
    const share = Math.min(lengths[i] ?? 0, Math.floor(left / (byLength.length - done)));
    shares[i] = share;
    left -= share;
  });
  return shares;
}

/** The rows that a failure belongs to; null when it concerns everything. */
export function partsAtFault({ parts }: StepPlan, error: unknown): readonly PlannedRows[] | null {
  if (!(error instanceof BitNetError)) return null;
  if (error.code !== "NUMERIC_FAILURE" && error.code !== "INVALID_ARGUMENT") return null;
  const { row } = error.details;
  if (typeof row !== "number") return parts;
  const owner = parts.find(({ firstRow, count }) => row >= firstRow && row < firstRow + count);
  return owner === undefined ? parts : [owner];
}
