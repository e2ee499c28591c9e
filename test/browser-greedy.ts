/** Greedy ids of the tiny model from a Blob, in a page: for tests of backends in browsers. */
import { type Backend, bindModel, blobRoot, describeModel, openModelFiles } from "@bitnet.ts/core";

/** @returns For each prompt, `nTokens` ids. */
export async function greedyIds(backend: Backend, prompts: number[][], nTokens: number): Promise<number[][]> {
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
  return ids;
}
