/**
 * What rounding activations to int8 costs, by the number of columns that share a scale: ‖W(x − x̂)‖ / ‖W·x‖ for activations that a model really has, of
 * random ternary W. Nothing is timed. The activations are those of the last layer on the reference backend with activations in f32; peers use
 * blocks of 32.
 */
import {
  bindModel,
  createReferenceBackend,
  describeModel,
  openModelFiles,
  type Program,
  pageTokens,
} from "@bitnet.ts/core";
import { openFileSource, openPath } from "@bitnet.ts/core/node";
import { ensureDummy, tinyModel } from "../bench/harness/models.ts";

const groups = [32, 64, 128, 256, Number.POSITIVE_INFINITY];
const nTokens = 16;
const nProducts = 64;

const paths = [tinyModel, process.argv[2] ?? ensureDummy({ shape: "125m", layers: 2 })];
for (const path of paths) {
  const program = await programOf(path);
  const activations = await activationsOf(program);
  console.log(
    `${path.replace(/^.*\//, "")}: relative error of products, in percent, by columns that share a scale`,
  );
  console.log(
    `${"input".padEnd(10)}${groups.map((size) => (size === Number.POSITIVE_INFINITY ? "whole row" : String(size)).padStart(11)).join("")}`,
  );
  for (const [name, rows] of activations)
    console.log(
      `${name.padEnd(10)}${groups.map((size) => (100 * errorOf(rows, size)).toFixed(3).padStart(11)).join("")}`,
    );
}

async function programOf(path: string): Promise<Program> {
  const files = await openModelFiles(await openPath(path));
  try {
    const model = describeModel(files, path);
    return await bindModel(model, { ...model.config, contextLength: pageTokens });
  } finally {
    await files.close();
  }
}

/** Inputs of projections by name, [nTokens] rows each. */
async function activationsOf(program: Program): Promise<Map<string, Float32Array[]>> {
  const backend = createReferenceBackend({ openFile: openFileSource, activations: "f32" });
  const executable = await backend.load(program, { kvType: "f32", nPages: 1, maxRows: nTokens });
  const inputs = [...program.buffers.entries()].filter(
    ([, buffer]) => buffer.class === "activation" && buffer.type === "q8",
  );
  const { outputs } = await executable.run({
    tokens: Int32Array.from({ length: nTokens }, (_, i) => (i * 97 + 11) % 2000),
    positions: Int32Array.from({ length: nTokens }, (_, i) => i),
    sequences: new Int32Array(nTokens),
    pageTables: [Int32Array.of(0)],
    heads: [],
    outputs: inputs.map(([id]) => id),
  });
  await executable.dispose();
  return new Map(
    outputs.map(({ values = new Float32Array() }, i) => {
      const cols = values.length / nTokens;
      const rows = Array.from({ length: nTokens }, (_, row) => values.subarray(row * cols, (row + 1) * cols));
      return [inputs[i]?.[1].name ?? "", rows];
    }),
  );
}

function errorOf(rows: readonly Float32Array[], size: number): number {
  let wrong = 0;
  let all = 0;
  let state = 1;
  const trit = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return ((state >>> 8) % 3) - 1;
  };
  for (const row of rows) {
    const near = rounded(row, size);
    const lost = row.map((value, i) => value - (near[i] ?? 0));
    for (let product = 0; product < nProducts; product++) {
      let [exact, error] = [0, 0];
      for (let i = 0; i < row.length; i++) {
        const weight = trit();
        exact += weight * (row[i] ?? 0);
        error += weight * (lost[i] ?? 0);
      }
      wrong += error * error;
      all += exact * exact;
    }
  }
  return Math.sqrt(wrong / all);
}

/** To 127 steps of the largest of each `size` columns. */
function rounded(row: Float32Array, size: number): Float32Array {
  const out = row.slice();
  const step = Math.min(size, row.length);
  for (let from = 0; from < row.length; from += step) {
    const group = out.subarray(from, from + step);
    const scale = 127 / group.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-5);
    for (let i = 0; i < group.length; i++) group[i] = Math.round((group[i] ?? 0) * scale) / scale;
  }
  return out;
}
