/**
 * Decode and prefill of Ternary Bonsai's sizes (Qwen3 shape, scales for groups of 128, ternary tables) here and in node-llama-cpp, in turn within
 * one run. The peer gets Q2_0 or TQ2_0, which have nearly the same bytes, as it is faster.
 */
import { median, runOnce } from "@bitnet.ts/cli/measuring";
import { ensureDummy } from "./harness/models.ts";
import { installPeer, Peer, peerVersion } from "./harness/peer.ts";
import type { Row, Verdict } from "./harness/result.ts";
import { type BenchContext, runBench } from "./harness/run-bench.ts";

const shapes = ["bonsai-1.7b", "bonsai-4b", "bonsai-8b"] as const;
const peerPackings = ["q2_0", "tq2_0"] as const;
const seed = 5;

interface Size {
  shape: string;
  layers?: number;
}

interface Work {
  nPrompt: number;
  nGen: number;
  contextSize: number;
}

interface Rates {
  promptTokensPerSecond: number;
  decodeTokensPerSecond: number;
}

await runBench("bonsai", async (context) => {
  const { options, isa, threads, rooflines, say } = context;
  installPeer(say);
  const [nPrompt, nGen] = options.isQuick ? [16, 4] : [128, 64];
  const work = { nPrompt, nGen, contextSize: nPrompt + nGen + 64 };
  const asked = shapes.filter((shape) => shape === options.shape);
  const sizes: Size[] = options.isQuick
    ? [{ shape: "bonsai-1.7b", layers: 1 }]
    : (asked.length > 0 ? asked : shapes).map((shape) => ({ shape }));
  const rows: Row[] = [];
  const models: string[] = [];
  const notes = ["the rates of either are of its own kernels for the same shape; weights are random"];
  let disturbance = 0;
  for (const size of sizes) {
    const measured = await measure(context, size, work);
    rows.push(...measured.rows);
    models.push(...measured.models);
    if (measured.disturbance !== null) disturbance = Math.max(disturbance, measured.disturbance);
    notes.push(`${size.shape}: node-llama-cpp ${peerVersion} with ${measured.opens}`);
  }
  return {
    models,
    ...{ isa, threads, rows, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "shape", label: "size", unit: "" },
      { key: "engine", label: "engine", unit: "" },
      { key: "decode", label: `decode of ${nGen}`, unit: "tok/s" },
      { key: "decodeRatio", label: "× peer", unit: "" },
      { key: "decodeShare", label: "of a bare read", unit: "share" },
      { key: "prefill", label: `prefill of ${nPrompt}`, unit: "tok/s" },
      { key: "prefillRatio", label: "× peer", unit: "" },
    ],
    verdicts: verdictsOf(rows),
    notes,
  };
});

async function measure({ isa, threads, rooflines, load, sample, say }: BenchContext, size: Size, work: Work) {
  const path = ensureDummy({ ...size, packing: "pq2_0" });
  const { peer, packing, peerPath, others } = await startPeer(size, threads, work.contextSize, say);
  const model = await load(path, { isa, threads, contextLength: work.contextSize });
  try {
    const { nPrompt, nGen } = work;
    await rooflines.read(threads);
    const { samples, disturbance } = await sample(
      [
        {
          name: `${size.shape}: node-llama-cpp`,
          sample: (run: number): Promise<Rates> =>
            peer.run({ nPrompt, nGen, seed, run, temperature: 0, topP: 1 }),
        },
        {
          name: `${size.shape}: bitnet.ts`,
          sample: (run: number): Promise<Rates> => runOnce(model, { nPrompt, nGen, seed }, run),
        },
      ],
      5,
      [peer.pid],
    );
    const read = await rooflines.read(threads);
    const rates = samples.map((each) => ({
      decode: median(each.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond)),
      prefill: median(each.map(({ promptTokensPerSecond }) => promptTokensPerSecond)),
    }));
    const engines = [`node-llama-cpp ${packing}`, `bitnet.ts ${model.info.isa}`];
    const rows = rates.map(({ decode, prefill }, i): Row => {
      const share = read === null || i === 0 ? null : (decode * model.info.bytesPerToken) / read;
      return {
        ...{ shape: size.shape, engine: engines[i] ?? "", decode, prefill, decodeShare: share },
        decodeRatio: decode / (rates[0]?.decode ?? Number.NaN),
        prefillRatio: prefill / (rates[0]?.prefill ?? Number.NaN),
      };
    });
    const slower = others.map((other) => `; ${other.rate.toFixed(1)} tok/s with ${other.packing}`).join("");
    return { rows, models: [path, peerPath], opens: `${packing}${slower}`, disturbance };
  } finally {
    await peer.stop();
    await model.dispose();
  }
}

/** With the packing in which it decodes fastest: its kernel for a type may be one that uses no vectors. @throws Error when it opens none. */
async function startPeer(size: Size, threads: number, contextSize: number, say: (line: string) => void) {
  const start = (packing: (typeof peerPackings)[number]) =>
    Peer.start({ model: ensureDummy({ ...size, packing }), threads, contextSize });
  const rates: { packing: (typeof peerPackings)[number]; rate: number }[] = [];
  let reason: unknown;
  for (const packing of peerPackings) {
    try {
      const peer = await start(packing);
      const probe = { nPrompt: 4, nGen: 4, seed, run: 0, temperature: 0, topP: 1 };
      const { decodeTokensPerSecond: rate } = await peer.run(probe);
      await peer.stop();
      rates.push({ packing, rate });
    } catch (error) {
      say(`node-llama-cpp does not open ${packing} (${error instanceof Error ? error.message : error})`);
      reason = error;
    }
  }
  const [best, ...others] = rates.sort((a, b) => b.rate - a.rate);
  if (best === undefined) throw reason;
  const { packing } = best;
  return { peer: await start(packing), packing, peerPath: ensureDummy({ ...size, packing }), others };
}

function verdictsOf(rows: readonly Row[]): Verdict[] {
  return rows
    .filter(({ engine }) => String(engine).startsWith("bitnet.ts"))
    .map(({ shape, decodeRatio }) => ({
      what: `decode of ${shape} against node-llama-cpp`,
      measured: typeof decodeRatio === "number" ? decodeRatio : null,
      wanted: 1,
      unit: "×",
      bound: "least",
    }));
}
