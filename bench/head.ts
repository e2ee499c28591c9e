/**
 * The head with and without screening, for greedy choice and for two samplers: what is gained, how many rows have to be computed exactly, and
 * what choosing a token costs beside the greedy choice. With top-p and no screening, or a flat distribution, the pool ranks the whole vocabulary. Random weights give a flatter distribution than trained ones, and so more candidates.
 */
import { median, runOnce } from "@bitnet.ts/cli/measuring";
import type { BitNet } from "bitnet.ts";
import type { Row, Verdict } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";
import { defaultSampler, greedy, type NamedSampler } from "./harness/samplers.ts";

const seed = 7;

const samplers: readonly NamedSampler[] = [
  greedy,
  { name: "temperature 0.7, top-k 40", sampling: { temperature: 0.7, topK: 40, topP: 1, seed } },
  defaultSampler(seed),
];

await runBench("head", async (context) => {
  const { options, isa, threads, rooflines } = context;
  const path = context.model();
  const [nPrompt, nGen] = options.isQuick ? [8, 4] : [16, 48];
  // A model for each, so that each keeps its own count of candidates.
  const entries: { head: string; sampler: NamedSampler; model: BitNet }[] = [];
  for (const sampler of samplers) {
    for (const screening of [false, true]) {
      const model = await context.load(path, { isa, threads, screening, contextLength: nPrompt + nGen + 64 });
      entries.push({ head: screening ? "screened" : "full", sampler, model });
    }
  }
  const cases = entries.map(({ head, sampler: { name, sampling }, model }) => ({
    name: `${head}, ${name}`,
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
    const { screening: report = { screened: 0, full: 0, candidates: 0 }, privateBytes } = model.stats();
    const decode = rates[i] ?? 0;
    const full = rates[i - (i % 2)] ?? 0;
    const asked = report.screened + report.full;
    return {
      sampler: sampler.name,
      head,
      decode,
      gain: decode / full,
      choosing: (rates[i % 2] ?? 0) / decode,
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
      { key: "choosing", label: "time of a token, × greedy", unit: "" },
      { key: "megabytes", label: "read per token", unit: "MB" },
      { key: "share", label: "of a bare read", unit: "share" },
      { key: "candidates", label: "rows computed exactly", unit: "" },
      { key: "screened", label: "choices screened", unit: "share" },
      { key: "private", label: "private to the model", unit: "MB" },
    ],
    verdicts: [choosingVerdict(1 / (rates.at(-2) ?? 0) - 1 / (rates[0] ?? 0), entries[0]?.model, read)],
    notes: [],
  };
});

/**
 * @param seconds What the default sampler adds to a token where it ranks all logits.
 * @param read Bytes per second.
 */
function choosingVerdict(seconds: number, model: BitNet | undefined, read: number | null): Verdict {
  const headSeconds =
    model === undefined || read === null ? null : (2 * model.info.vocabSize * model.info.hiddenSize) / read;
  return {
    what: "choosing by the default sampler from the full head, as a share of a bare read of that head (f16)",
    measured: headSeconds === null ? null : Math.max(0, seconds) / headSeconds,
    unit: "share",
    wanted: 0.1,
    bound: "most",
  };
}
