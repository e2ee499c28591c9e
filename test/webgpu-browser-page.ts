/** What test/webgpu-browser.test.ts runs in a page, as a module of its own: the backend within its bounds, then the tiny model from a Blob. */
import { bindModel, blobRoot, describeModel, openModelFiles } from "@bitnet.ts/core";
import { checkTolerance, conformanceCases } from "@bitnet.ts/core/conformance";
import { createWebGpuBackend } from "@bitnet.ts/webgpu";

export interface Found {
  adapter: string;
  failures: string[];
  nCases: number;
  ids: number[];
}

export async function examine(prompt: number[], nTokens: number): Promise<Found> {
  const backend = await createWebGpuBackend();
  const cases = conformanceCases().filter(({ name }) =>
    /^(embed f16|rmsNormQuant (100|refuses)|bitLinear 33|gatedActivation \w+ 33|attention 4\/2 heads of 16|head f16 5 )/.test(
      name,
    ),
  );
  const failures: string[] = [];
  for (const testCase of cases) {
    const difference = await checkTolerance(testCase, backend);
    if (difference !== null) failures.push(`${testCase.name}: ${difference}`);
  }
  const blob = await (await fetch("/test/golden/tiny.gguf")).blob();
  const files = await openModelFiles(blobRoot(blob), {});
  const model = describeModel(files, "tiny");
  const program = await bindModel(model, model.config, { streams: true });
  const executable = await backend.load(program, { kvType: "f32", nPages: 8, maxRows: 64 });
  const ids: number[] = [];
  for (let tokens = prompt, first = 0; ids.length < nTokens; first += tokens.length, tokens = ids.slice(-1)) {
    const { heads } = await executable.run({
      tokens: Int32Array.from(tokens),
      positions: Int32Array.from(tokens, (_, i) => first + i),
      sequences: new Int32Array(tokens.length),
      pageTables: [Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7)],
      heads: [{ row: tokens.length - 1, want: { kind: "top", k: 1 } }],
    });
    ids.push(heads[0]?.ids[0] ?? -1);
  }
  await executable.dispose();
  return { adapter: backend.adapter.name, failures, nCases: cases.length, ids };
}
