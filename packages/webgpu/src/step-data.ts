/** What of a step the device reads, as words, and a copy of a step that its giver may change meanwhile. */
import type { HeadWant, Step } from "@bitnet.ts/core";
import { blockPositions } from "./kernels/attention.ts";

export interface StepData {
  /** Of each row: token, position, where the pages of its sequence begin, adapter + 1. */
  rows: Uint32Array<ArrayBuffer>;
  /** The page tables one behind the other. */
  pages: Uint32Array<ArrayBuffer>;
}

export function encodeRows({ tokens, positions, sequences, adapters, pageTables }: Step): StepData {
  const starts: number[] = [];
  let total = 0;
  for (const table of pageTables) {
    starts.push(total);
    total += table.length;
  }
  const pages = new Uint32Array(total);
  for (const [i, table] of pageTables.entries()) pages.set(table, starts[i]);
  const rows = new Uint32Array(4 * tokens.length);
  for (let i = 0; i < tokens.length; i++) {
    rows[4 * i] = tokens[i] ?? 0;
    rows[4 * i + 1] = positions[i] ?? 0;
    rows[4 * i + 2] = starts[sequences[i] ?? 0] ?? 0;
    rows[4 * i + 3] = (adapters?.[i] ?? -1) + 1;
  }
  return { rows, pages };
}

/** The most blocks of attention that any row goes through, `later` positions on. */
export function blocksOf({ positions }: Step, window: number, later = 0): number {
  return positions.reduce((most, position) => {
    const last = position + later;
    const first = window > 0 ? Math.max(0, last + 1 - window) : 0;
    return Math.max(most, Math.floor(last / blockPositions) - Math.floor(first / blockPositions) + 1);
  }, 1);
}

/** The same rows, so many positions on. */
export function advanced(step: Step, later: number): Step {
  return { ...step, positions: step.positions.map((position) => position + later) };
}

function kept(want: HeadWant): HeadWant {
  if (want.kind !== "draw") return want;
  const { counts, biases, leaving, ...rest } = want;
  return {
    ...rest,
    counts: counts.slice(),
    biases: biases.slice(),
    ...(leaving ? { leaving: leaving.slice() } : {}),
  };
}

export function snapshot(step: Step): Step {
  const { tokens, positions, sequences, adapters, pageTables, pageCopies, heads, inputs, outputs } = step;
  return {
    tokens: tokens.slice(),
    positions: positions.slice(),
    sequences: sequences.slice(),
    ...(adapters ? { adapters: adapters.slice() } : {}),
    pageTables: pageTables.map((table) => table.slice()),
    ...(pageCopies ? { pageCopies: pageCopies.slice() } : {}),
    heads: heads.map(({ apart, allow, want, ...rest }) => ({
      ...rest,
      want: kept(want),
      ...(apart ? { apart: apart.slice() } : {}),
      ...(allow ? { allow: allow.slice() } : {}),
    })),
    ...(inputs ? { inputs: inputs.map(({ buffer, values }) => ({ buffer, values: values.slice() })) } : {}),
    ...(outputs ? { outputs: [...outputs] } : {}),
  };
}
