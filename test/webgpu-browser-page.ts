/** What test/webgpu-browser.test.ts runs in a page, as a module of its own: the backend within its bounds, then the tiny model from a Blob. */
import { checkTolerance, conformanceCases } from "@bitnet.ts/core/conformance";
import { createWebGpuBackend } from "@bitnet.ts/webgpu";
import { greedyIds } from "./browser-greedy.ts";

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
  const [ids = []] = await greedyIds(backend, [prompt], nTokens);
  return { adapter: backend.adapter.name, failures, nCases: cases.length, ids };
}
