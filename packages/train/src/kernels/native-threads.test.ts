/** Trainers in several threads of one process: all use the one team of the process, and none disturbs another. */
import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";

const kernelsUrl = new URL("../../dist/kernels/native-kernels.js", import.meta.url).href;

/** Products of ones and attention over few rows, on as many threads as the worker is told. Exact in whatever order they are summed. */
const worker = `
  const { parentPort, workerData } = require("node:worker_threads");
  import(${JSON.stringify(kernelsUrl)}).then(({ nativeKernels }) => {
    const kernels = nativeKernels({ threads: workerData });
    const [m, n, k] = [40, 48, 64];
    const [a, b, out] = [m * k, n * k, m * n].map((length) => new Float32Array(length).fill(1));
    const rows = 64, headDim = 16;
    const [q, key, v, mixed] = [1, 2, 3, 4].map(() => new Float32Array(rows * headDim).fill(1));
    const heads = { starts: Int32Array.of(0, rows), nHeads: 1, nKvHeads: 1, headDim };
    const stats = new Float32Array(2 * rows);
    let wrong = 0;
    for (let round = 0; round < 3000; round++) {
      kernels.product({ a, b, out, m, n, k });
      kernels.attention({ ...heads, q, k: key, v, out: mixed, stats });
      wrong += Number(out.some((value) => value !== k)) + Number(mixed.some((value) => Math.abs(value - 1) > 1e-5));
      out.fill(0);
      mixed.fill(0);
    }
    parentPort.postMessage(wrong);
  });
`;

const main = `
  const { Worker } = require("node:worker_threads");
  const runs = [1, 2, 3, 4].map(
    (workerData) =>
      new Promise((resolve, reject) => {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true, workerData });
        worker.on("message", resolve).on("error", reject);
      }),
  );
  Promise.all(runs).then((wrong) => console.log(...wrong));
`;

it("take turns with the team", () => {
  // A process of its own: threads that wait for each other for ever could not be ended.
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, ["-e", main], {
    encoding: "utf8",
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
  expect({ status, signal, output: `${stdout}${stderr}` }).toEqual({
    status: 0,
    signal: null,
    output: "0 0 0 0\n",
  });
}, 90_000);
