/** What test/wasm-browser.test.ts runs in a page, as a module of its own: the backend against the reference, then the tiny model from a Blob. */
import type { Backend, Program } from "@bitnet.ts/core";
import { checkConformance, conformanceCases } from "@bitnet.ts/core/conformance";
import { createWasmBackend } from "@bitnet.ts/wasm";
import { greedyIds } from "./browser-greedy.ts";

export interface Found {
  isa: string;
  threads: number;
  isIsolated: boolean;
  /** Names of conformance cases that failed, and what was found. */
  failures: string[];
  nCases: number;
  ids: number[][];
}

export async function examine(prompts: number[][], nTokens: number): Promise<Found> {
  const backend = await createWasmBackend({ threads: 2 });
  const cases = conformanceCases().filter(({ name }) => !/attention|^head f16 3000/.test(name));
  const failures: string[] = [];
  for (const testCase of cases) {
    const difference = await checkConformance(testCase, backend);
    if (difference !== null) failures.push(`${testCase.name}: ${difference}`);
  }
  const ids = await greedyIds(backend, prompts, nTokens);
  const { isa, threads } = backend;
  return { isa, threads, isIsolated: globalThis.crossOriginIsolated, failures, nCases: cases.length, ids };
}

/** A table that is embedded and nothing else, f16. */
const [rows, cols] = [32_768, 1024];
export const tableBytes: number = 2 * rows * cols;

let backend: Backend | undefined;

/** Loads a program of `tableBytes` so many times, and lets it go each time before the next. */
export async function loadOften(times: number): Promise<void> {
  backend ??= await createWasmBackend({ threads: 2 });
  const read = async (_: number, length: number) => new Uint8Array(length).fill(1);
  const program: Program = {
    name: "table",
    contextLength: 8,
    vocabSize: rows,
    sources: [{ kind: "stream", name: "table", size: tableBytes, read }],
    buffers: [
      {
        class: "weight",
        name: "table",
        tensor: { kind: "dense", type: "f16", source: 0, offset: 0, rows, cols },
      },
      { class: "activation", name: "x", type: "f32", cols },
    ],
    ops: [{ op: "embed", table: 0, out: 1 }],
  };
  for (let i = 0; i < times; i++)
    await (await backend.load(program, { kvType: "f16", nPages: 1, maxRows: 4 })).dispose();
}
