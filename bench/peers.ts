/**
 * The same sizes here and in node-llama-cpp (TQ2_0, architecture `bitnet`), in turn within one run. The peer rounds activations per block and
 * computes SiLU where this computes a squared ReLU; the multiply-adds and bytes are the same.
 */
import { median, runOnce } from "@bitnet.ts/cli/measuring";
import type { Isa } from "@bitnet.ts/core";
import type { BitNet } from "bitnet.ts";
import { bodyMacs } from "./harness/model-cost.ts";
import { ensureDummy } from "./harness/models.ts";
import { installPeer, Peer, peerVersion } from "./harness/peer.ts";
import type { Row, Verdict } from "./harness/result.ts";
import { type BenchContext, runBench } from "./harness/run-bench.ts";
import { defaultSampler, greedy, type NamedSampler } from "./harness/samplers.ts";

const seed = 5;

interface Case {
  name: string;
  sampler: NamedSampler;
  /** Null: the peer. */
  model: BitNet | null;
  sample: (run: number) => Promise<Rates>;
}

interface Rates {
  promptTokensPerSecond: number;
  decodeTokensPerSecond: number;
}

await runBench("peers", async (context) => {
  const { options, isa, threads, rooflines, say } = context;
  installPeer(say);
  const [nPrompt, nGen] = options.isQuick ? [16, 4] : [128, 64];
  const size = options.isQuick ? { shape: "125m", layers: 1 } : { shape: options.shape };
  const contextSize = nPrompt + nGen + 64;
  const path = ensureDummy(size);
  const peerPath = ensureDummy({ ...size, packing: "tq2_0", architecture: "bitnet" });
  const peer = await Peer.start({ model: peerPath, threads, contextSize });
  const models: BitNet[] = [];
  try {
    for (const each of isasToMeasure(context))
      models.push(await context.load(path, { isa: each, threads, contextLength: contextSize }));
    const ofPeer = (sampler: NamedSampler): Case => {
      const { temperature = 0, topP = 1 } = sampler.sampling;
      const settings = { nPrompt, nGen, seed, temperature, topP };
      return {
        name: `node-llama-cpp ${peerVersion}`,
        ...{ sampler, model: null },
        sample: (run) => peer.run({ ...settings, run }),
      };
    };
    const ofModel = (model: BitNet, sampler: NamedSampler): Case => ({
      name: `bitnet.ts ${model.info.isa}`,
      ...{ sampler, model },
      sample: (run) => runOnce(model, { nPrompt, nGen, seed, sampling: sampler.sampling }, run),
    });
    const usual = defaultSampler(seed);
    // The model last, as it counts what its head reads by sampler.
    const last = await context.load(path, { isa, threads, contextLength: contextSize });
    models.push(last);
    const cases = [
      ofPeer(greedy),
      ...models.slice(0, -1).map((model) => ofModel(model, greedy)),
      ofPeer(usual),
      ofModel(last, usual),
    ];
    await rooflines.read(threads);
    const { samples, disturbance } = await context.sample(cases, 5, [peer.pid]);
    const read = await rooflines.read(threads);
    const middle = (i: number, key: keyof Rates) => median((samples[i] ?? []).map((sample) => sample[key]));
    const rows: Row[] = cases.map(({ name, sampler, model }, i) => {
      const decode = middle(i, "decodeTokensPerSecond");
      const prefill = middle(i, "promptTokensPerSecond");
      const bytes = model?.info.bytesPerToken ?? peerBytes(models[0]);
      const ofPeer = cases.findIndex((other) => other.model === null && other.sampler === sampler);
      return {
        engine: name,
        sampler: sampler.name,
        decode,
        decodeRatio: decode / middle(ofPeer, "decodeTokensPerSecond"),
        decodeShare: read === null ? null : (decode * bytes) / read,
        prefill,
        prefillRatio: prefill / middle(ofPeer, "promptTokensPerSecond"),
      };
    });
    return {
      models: [path, peerPath],
      ...{ isa, threads, rows, disturbance },
      rooflines: rooflines.all,
      columns: [
        { key: "engine", label: "engine", unit: "" },
        { key: "sampler", label: "sampler", unit: "" },
        { key: "decode", label: `decode of ${nGen}`, unit: "tok/s" },
        { key: "decodeRatio", label: "× peer", unit: "" },
        { key: "decodeShare", label: "of a bare read", unit: "share" },
        { key: "prefill", label: `prefill of ${nPrompt}`, unit: "tok/s" },
        { key: "prefillRatio", label: "× peer", unit: "" },
      ],
      verdicts: verdictsOf(rows, isa),
      notes: [`node-llama-cpp: ${peer.system.replaceAll(/\s+/g, " ")}`],
    };
  } finally {
    await peer.stop();
    for (const model of models) await model.dispose();
  }
});

/** Weights of 66 bytes in blocks of 256, and the whole head in f16. */
function peerBytes(model: BitNet | undefined): number {
  if (model === undefined) return 0;
  const { info } = model;
  return (bodyMacs(info) * 66) / 256 + 2 * info.vocabSize * info.hiddenSize;
}

/** The best one, and those that have a figure of their own. */
function isasToMeasure({ isa, isas }: BenchContext): Isa[] {
  const extra = (["avx512vnni", "avx2"] as const).filter((each) => each !== isa && isas.includes(each));
  return [isa, ...extra];
}

function verdictsOf(rows: readonly Row[], best: string): Verdict[] {
  const ratio = (isa: string, key: "decodeRatio" | "prefillRatio") => {
    const row = rows.find(({ engine, sampler }) => engine === `bitnet.ts ${isa}` && sampler === greedy.name);
    const value = row?.[key];
    return typeof value === "number" ? value : null;
  };
  const verdict = (what: string, measured: number | null, wanted: number): Verdict => ({
    ...{ what, measured, wanted },
    unit: "×",
    bound: "least",
    ...(measured === null ? { remark: "not on this machine" } : {}),
  });
  const decode = ratio(best, "decodeRatio");
  return [
    verdict(`decode with ${best} against node-llama-cpp`, decode, 2.1),
    verdict(`goal: decode with ${best}`, decode, 3),
    verdict("prefill with amx", ratio("amx", "prefillRatio"), 11),
    verdict("goal: prefill with amx", ratio("amx", "prefillRatio"), 19),
    verdict("prefill with avx512vnni", ratio("avx512vnni", "prefillRatio"), 4),
    verdict("decode with avx2", ratio("avx2", "decodeRatio"), 1.6),
    verdict("prefill with avx2", ratio("avx2", "prefillRatio"), 1.8),
  ];
}
