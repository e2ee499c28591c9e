/** Time per token over bytes per token, from small to large models: a straight line, from which any size follows. */
import { median, runOnce } from "@bitnet.ts/cli/measuring";
import type { BitNet } from "bitnet.ts";
import { type Line, leastSquaresLine, straightestLine } from "./harness/line-fit.ts";
import { decodeBytes } from "./harness/model-cost.ts";
import { type DummyRequest, ensureDummy } from "./harness/models.ts";
import { formatCell, type Row } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

const seed = 4;
const nPrompt = 16;
const largest = "100b";

await runBench("scaling", async (context) => {
  const { options, isa, threads, rooflines } = context;
  const nGen = options.isQuick ? 4 : 32;
  const requests: DummyRequest[] = options.isQuick
    ? [1, 2, 4].map((layers) => ({ shape: "125m", layers }))
    : ["125m", "700m", "1.3b", "2b-4t", "3b", "7b"].map((shape) => ({ shape }));
  const models: BitNet[] = [];
  for (const request of requests)
    models.push(await context.load(ensureDummy(request), { isa, threads, contextLength: 256 }));
  // A sample takes as long with a small model as with the largest, so that what others do on the machine for a second meets all alike.
  const most = Math.max(...models.map(({ info }) => info.bytesPerToken));
  const cases = models.map((model) => {
    const texts = Math.round(most / model.info.bytesPerToken);
    return {
      name: model.info.name,
      sample: async (run: number) => {
        let total = 0;
        for (let i = 0; i < texts; i++) {
          const { decodeTokensPerSecond } = await runOnce(model, { nPrompt, nGen, seed }, run * texts + i);
          total += 1000 / decodeTokensPerSecond;
        }
        return total / texts;
      },
    };
  });
  await rooflines.read(threads);
  const { samples, disturbance } = await context.sample(cases, 11);
  const read = await rooflines.read(threads);
  const points = models.map(({ info }, i) => ({
    x: info.bytesPerToken,
    y: median(samples[i] ?? []),
  }));
  const line = straightestLine(points);
  const rows: Row[] = models.map(({ info }, i) => {
    const { x = 0, y = 0 } = points[i] ?? {};
    return {
      model: info.name,
      megabytes: x / 1e6,
      tokenMs: y,
      decode: 1000 / y,
      deviation: y / (line.intercept + line.slope * x) - 1,
      share: read === null ? null : (1000 * x) / y / read,
    };
  });
  for (const model of models) await model.dispose();
  return {
    models: rows.map(({ model }) => String(model)),
    ...{ isa, threads, rows, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "model", label: "model", unit: "" },
      { key: "megabytes", label: "read per token", unit: "MB" },
      { key: "tokenMs", label: "per token", unit: "ms" },
      { key: "decode", label: "decode", unit: "tok/s" },
      { key: "deviation", label: "off the line", unit: "share" },
      { key: "share", label: "of a bare read", unit: "share" },
    ],
    verdicts: [
      {
        what: "largest deviation from a straight line",
        measured: line.largestDeviation,
        unit: "share",
        wanted: 0.1,
        bound: "most",
      },
    ],
    notes: [
      ...predictions(line),
      `the line is the one whose largest deviation is the smallest; by least squares it would be ${formatCell(leastSquaresLine(points).largestDeviation, "share")}`,
    ],
  };
});

/** What follows from the line for the largest size. */
function predictions(line: Line): string[] {
  if (!(line.slope > 0)) return ["no prediction: larger models did not take longer"];
  const bytes = decodeBytes(largest);
  const ms = line.intercept + line.slope * bytes;
  const speed = 1 / (line.slope / 1000) / 1e9;
  const needed = (rate: number) => (bytes * rate) / 1e9;
  return [
    `line: ${line.intercept.toFixed(2)} ms + ${(line.slope * 1e9).toFixed(1)} ms per GB, that is ${speed.toFixed(1)} GB/s`,
    `a ${largest} model reads ${(bytes / 1e9).toFixed(1)} GB a token: here ${(ms / 1000).toFixed(2)} s a token (${(1000 / ms).toFixed(2)} tok/s), if the memory held it; ` +
      `5 tok/s need ${needed(5).toFixed(0)} GB/s of decoding, 7 tok/s ${needed(7).toFixed(0)} GB/s`,
  ];
}
