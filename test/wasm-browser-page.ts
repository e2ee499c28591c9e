/** What test/wasm-browser.test.ts runs in a page, as a module of its own: the backend against the reference, then the tiny model from a Blob. */
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
