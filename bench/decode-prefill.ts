/** Whole decode and prefill by threads and instruction set, as shares of a bare read and of a bare multiply loop. */
import { median, type RunSample, runOnce } from "@bitnet.ts/cli/measuring";
import type { BitNet } from "bitnet.ts";
import { bodyMacs } from "./harness/model-cost.ts";
import type { BenchBody, Row, Verdict } from "./harness/result.ts";
import { type BenchContext, runBench } from "./harness/run-bench.ts";

const seed = 1;

await runBench("decode-prefill", async (context) => {
  const { options, threads } = context;
  const path = context.model();
  const [nPrompt, nGen] = options.isQuick ? [16, 4] : [128, 64];
  const models: BitNet[] = [];
  // The scalar kernels are for comparing bits; a prompt takes them minutes.
  const isas = context.isas.filter(
    (isa) => isa !== "scalar" || options.isas !== null || context.isas.length === 1,
  );
  for (const isa of isas)
    for (const count of threadCounts(threads))
      models.push(await context.load(path, { isa, threads: count, contextLength: nPrompt + nGen + 64 }));
  const cases = models.map((model) => ({
    name: `${model.info.isa} × ${model.info.threads}`,
    sample: (run: number) => runOnce(model, { nPrompt, nGen, seed }, run),
  }));
  for (const { info } of models) {
    await context.rooflines.read(info.threads);
    await context.rooflines.multiply(info.isa, info.threads);
  }
  const { samples, disturbance } = await context.sample(cases, 5);
  const rows: Row[] = [];
  for (const [i, model] of models.entries()) rows.push(await rowOf(model, samples[i] ?? [], context));
  for (const model of models) await model.dispose();
  const best = rows.find((row) => row.isa === context.isa && row.threads === threads);
  return {
    models: [path],
    isa: context.isa,
    threads,
    rooflines: context.rooflines.all,
    columns: [
      { key: "isa", label: "instruction set", unit: "" },
      { key: "threads", label: "threads", unit: "" },
      { key: "decode", label: "decode", unit: "tok/s" },
      { key: "decodeShare", label: "of a bare read", unit: "share" },
      { key: "prefill", label: `prefill of ${nPrompt}`, unit: "tok/s" },
      { key: "prefillShare", label: "of a bare multiply loop", unit: "share" },
      { key: "firstToken", label: "first token", unit: "ms" },
      { key: "energy", label: "energy per token", unit: "J" },
    ],
    rows,
    verdicts: [decodeVerdict(best)],
    notes: rows.some(({ energy }) => energy !== null)
      ? []
      : ["energy per token: not available (no readable RAPL counters)"],
    disturbance,
  } satisfies BenchBody;
});

/** 1, 2, 4 … and all. */
function threadCounts(most: number): number[] {
  const counts: number[] = [];
  for (let count = 1; count < most; count *= 2) counts.push(count);
  return [...counts, most];
}

async function rowOf(
  { info }: BitNet,
  samples: readonly RunSample[],
  { rooflines }: BenchContext,
): Promise<Row> {
  const { isa, threads, bytesPerToken } = info;
  const decode = median(samples.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond));
  const prefill = median(samples.map(({ promptTokensPerSecond }) => promptTokensPerSecond));
  const joules = samples.flatMap(({ joulesPerToken }) => (joulesPerToken === null ? [] : [joulesPerToken]));
  const read = await rooflines.read(threads);
  const multiply = await rooflines.multiply(isa, threads);
  return {
    isa,
    threads,
    decode,
    decodeShare: read === null ? null : (decode * bytesPerToken) / read,
    prefill,
    prefillShare: multiply === null ? null : (prefill * bodyMacs(info)) / multiply,
    firstToken: median(samples.map(({ firstTokenMs }) => firstTokenMs)),
    energy: joules.length === 0 ? null : median(joules),
  };
}

function decodeVerdict(best: Row | undefined): Verdict {
  const share = best?.decodeShare;
  return {
    what: "decode as a share of a bare read of the bytes that it needs",
    measured: typeof share === "number" ? share : null,
    unit: "share",
    wanted: 0.75,
    bound: "least",
  };
}
