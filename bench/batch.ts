/** Sequences that decode together: the weights are read once for all of them, until computing takes longer than reading. */
import { type BatchSample, median, runBatch } from "@bitnet.ts/cli/measuring";
import { bodyMacs } from "./harness/model-cost.ts";
import type { Row, Verdict } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

const seed = 3;
const nPrompt = 16;
/** As core's pages, one of which admission keeps free for each running sequence. */
const pageTokens = 32;

await runBench("batch", async (context) => {
  const { options, isa, threads, rooflines } = context;
  const path = context.model();
  const sizes = options.isQuick ? [1, 2, 4] : [1, 2, 4, 8, 16, 32];
  const nGen = options.isQuick ? 4 : 32;
  const cacheTokens = Math.max(...sizes) * (nPrompt + nGen + 2 * pageTokens);
  const model = await context.load(path, { isa, threads, cacheTokens });
  const cases = sizes.map((size) => ({
    name: `${size} sequences`,
    sample: (run: number) => runBatch(model, { nPrompt, nGen, seed: seed + size }, size, run),
  }));
  await rooflines.read(threads);
  await rooflines.multiply(isa, threads);
  const { samples, disturbance } = await context.sample(cases, 5);
  const { info } = model;
  const { kvBytesPerToken } = model.stats();
  const { bytesPerToken } = info;
  await model.dispose();
  const read = await rooflines.read(threads);
  const multiply = await rooflines.multiply(isa, threads);
  const rows: Row[] = sizes.map((size, i) => {
    const middle = (key: keyof BatchSample) => median((samples[i] ?? []).map((sample) => sample[key]));
    const tokenMs = middle("tokenMs");
    const readMs =
      read === null ? null : (1000 * (bytesPerToken + size * (nPrompt + nGen / 2) * kvBytesPerToken)) / read;
    const multiplyMs = multiply === null ? null : (1000 * size * bodyMacs(info)) / multiply;
    const least = Math.max(readMs ?? 0, multiplyMs ?? 0);
    return {
      sequences: size,
      together: middle("tokensPerSecond"),
      tokenMs,
      gain: null,
      bound: least === 0 ? null : least === readMs ? "read" : "multiply",
      share: least === 0 ? null : least / tokenMs,
    };
  });
  const single = rows[0]?.together;
  for (const row of rows)
    row.gain = typeof single === "number" && typeof row.together === "number" ? row.together / single : null;
  return {
    models: [path],
    ...{ isa, threads, rows, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "sequences", label: "sequences", unit: "" },
      { key: "together", label: "together", unit: "tok/s" },
      { key: "gain", label: "× one", unit: "" },
      { key: "tokenMs", label: "per token of one", unit: "ms" },
      { key: "bound", label: "least time set by", unit: "" },
      { key: "share", label: "of that bound", unit: "share" },
    ],
    verdicts: verdictsOf(rows, isa),
    notes: [
      `the multiply bound counts the ${(bodyMacs(info) / 1e9).toFixed(2)} G ternary multiply-adds of a sequence, not the ${((info.vocabSize * info.hiddenSize) / 1e9).toFixed(2)} G in f32 of the head`,
    ],
  };
});

function verdictsOf(rows: readonly Row[], isa: string): Verdict[] {
  const sixteen = rows.find(({ sequences }) => sequences === 16);
  const number = (value: unknown) => (typeof value === "number" ? value : null);
  const remark = isa === "amx" ? {} : { remark: `meant for AMX, run with ${isa}` };
  return [
    {
      what: "sixteen sequences together",
      measured: number(sixteen?.together),
      unit: "tok/s",
      wanted: 200,
      bound: "least",
      ...remark,
    },
    {
      what: "sixteen sequences against one",
      measured: number(sixteen?.gain),
      unit: "×",
      wanted: 5,
      bound: "least",
      ...remark,
    },
  ];
}
