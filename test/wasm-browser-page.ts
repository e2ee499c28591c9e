/** What test/wasm-browser.test.ts runs in a page, as a module of its own: the backend against the reference, then the tiny model from a Blob. */
import { bindModel, blobRoot, describeModel, openModelFiles } from "@bitnet.ts/core";
import { checkConformance, conformanceCases } from "@bitnet.ts/core/conformance";
import { createWasmBackend } from "@bitnet.ts/wasm";

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
  const blob = await (await fetch("/test/golden/tiny.gguf")).blob();
  const files = await openModelFiles(blobRoot(blob), {});
  const model = describeModel(files, "tiny");
  const program = await bindModel(model, model.config, { streams: true });
  const executable = await backend.load(program, { kvType: "f32", nPages: 8, maxRows: 64 });
  const ids: number[][] = [];
  for (const prompt of prompts) {
    const made: number[] = [];
    for (
      let tokens = prompt, first = 0;
      made.length < nTokens;
      first += tokens.length, tokens = made.slice(-1)
    ) {
      const { heads } = await executable.run({
        tokens: Int32Array.from(tokens),
        positions: Int32Array.from(tokens, (_, i) => first + i),
        sequences: new Int32Array(tokens.length),
        pageTables: [Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7)],
        heads: [{ row: tokens.length - 1, want: { kind: "top", k: 1 } }],
      });
      made.push(heads[0]?.ids[0] ?? -1);
    }
    ids.push(made);
  }
  await executable.dispose();
  const { isa, threads } = backend;
  return { isa, threads, isIsolated: globalThis.crossOriginIsolated, failures, nCases: cases.length, ids };
}
