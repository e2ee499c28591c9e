/**
 * Whole decode and prefill by threads and instruction set, as shares of a bare read and of a bare multiply loop; with the best of both, the
 * default sampler as well.
 */
import { median, type RunSample, runOnce } from "@bitnet.ts/cli/measuring";
import type { BitNet } from "bitnet.ts";
import { bodyMacs } from "./harness/model-cost.ts";
import type { BenchBody, Row, Verdict } from "./harness/result.ts";
import { type BenchContext, runBench } from "./harness/run-bench.ts";
import { defaultSampler, greedy, type NamedSampler } from "./harness/samplers.ts";

const seed = 1;

await runBench("decode-prefill", async (context) => {
  const { options, threads } = context;
  const path = context.model();
  const [nPrompt, nGen] = options.isQuick ? [16, 4] : [128, 64];
  const entries: { model: BitNet; sampler: NamedSampler }[] = [];
  // The scalar kernels are for comparing bits; a prompt takes them minutes.
  const isas = context.isas.filter(
    (isa) => isa !== "scalar" || options.isas !== null || context.isas.length === 1,
  );
  for (const isa of isas)
    for (const count of threadCounts(threads))
      for (const sampler of isa === context.isa && count === threads
        ? [greedy, defaultSampler(seed)]
        : [greedy]) {
        const model = await context.load(path, { isa, threads: count, contextLength: nPrompt + nGen + 64 });
        entries.push({ model, sampler });
      }
  const cases = entries.map(({ model, sampler: { name, sampling } }) => ({
    name: `${model.info.isa} × ${model.info.threads}, ${name}`,
    sample: (run: number) => runOnce(model, { nPrompt, nGen, seed, sampling }, run),
  }));
  for (const { model } of entries) {
    const { info } = model;
    await context.rooflines.read(info.threads);
    await context.rooflines.multiply(info.isa, info.threads);
  }
  const { samples, disturbance } = await context.sample(cases, 5);
  const rows: Row[] = [];
  for (const [i, { model, sampler }] of entries.entries())
    rows.push({ ...(await rowOf(model, samples[i] ?? [], context)), sampler: sampler.name });
  for (const { model } of entries) await model.dispose();
  const best = rows.find((row) => row.isa === context.isa && row.threads === threads);
  return {
    models: [path],
    isa: context.isa,
    threads,
    rooflines: context.rooflines.all,
    columns: [
      { key: "isa", label: "instruction set", unit: "" },
      { key: "threads", label: "threads", unit: "" },
      { key: "sampler", label: "sampler", unit: "" },
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
