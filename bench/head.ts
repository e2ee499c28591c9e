/**
 * The head with and without screening, for greedy choice and for two samplers: what is gained, and how many rows have to be computed exactly.
 * Random weights give a flatter distribution than trained ones, and so more candidates.
 */
import { median, runOnce } from "@bitnet.ts/cli/measuring";
import type { BitNet, SamplingOptions } from "bitnet.ts";
import type { Row } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

const seed = 7;

const samplers: readonly { name: string; sampling: SamplingOptions }[] = [
  { name: "greedy", sampling: { temperature: 0 } },
  { name: "top-k 40, temperature 0.7", sampling: { temperature: 0.7, topK: 40, topP: 1, seed } },
  { name: "top-p 0.9, temperature 0.7", sampling: { temperature: 0.7, topP: 0.9, seed } },
];

await runBench("head", async (context) => {
  const { options, isa, threads, rooflines } = context;
  const path = context.model();
  const [nPrompt, nGen] = options.isQuick ? [8, 4] : [16, 48];
  // A model for each, so that each keeps its own count of candidates.
  const entries: { head: string; sampler: string; model: BitNet; sampling: SamplingOptions }[] = [];
  for (const { name, sampling } of samplers) {
    for (const screening of [false, true]) {
      const model = await context.load(path, { isa, threads, screening, contextLength: nPrompt + nGen + 64 });
      entries.push({ head: screening ? "screened" : "full", sampler: name, model, sampling });
    }
  }
  const cases = entries.map(({ head, sampler, model, sampling }) => ({
    name: `${head}, ${sampler}`,
    sample: (run: number) => runOnce(model, { nPrompt, nGen, seed, sampling }, run),
  }));
  await rooflines.read(threads);
  const { samples, disturbance } = await context.sample(cases, 5);
  const read = await rooflines.read(threads);
  const rates = samples.map((taken) =>
    median(taken.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond)),
  );
  const rows: Row[] = entries.map(({ head, sampler, model }, i) => {
    const { bytesPerToken } = model.info;
    const { head: report, privateBytes } = model.stats();
    const decode = rates[i] ?? 0;
    const full = rates[i - (i % 2)] ?? 0;
    const asked = report.screened + report.full;
    return {
      sampler,
      head,
      decode,
      gain: decode / full,
      megabytes: bytesPerToken / 1e6,
      share: read === null ? null : (decode * bytesPerToken) / read,
      candidates: report.screened === 0 ? null : report.candidates / report.screened,
      screened: report.screened === 0 ? null : report.screened / asked,
      private: privateBytes / 1e6,
    };
  });
  for (const { model } of entries) await model.dispose();
  return {
    models: [path],
    ...{ isa, threads, rows, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "sampler", label: "sampler", unit: "" },
      { key: "head", label: "head", unit: "" },
      { key: "decode", label: "decode", unit: "tok/s" },
      { key: "gain", label: "× full", unit: "" },
      { key: "megabytes", label: "read per token", unit: "MB" },
      { key: "share", label: "of a bare read", unit: "share" },
      { key: "candidates", label: "rows computed exactly", unit: "" },
      { key: "screened", label: "choices screened", unit: "share" },
      { key: "private", label: "private to the model", unit: "MB" },
    ],
    verdicts: [],
    notes: [],
  };
});
