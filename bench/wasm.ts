/** WebAssembly against the native backend, one beside the other: decode and prefill of the same model with the same threads, and the same ids. */
import { median, runOnce } from "@bitnet.ts/cli/measuring";
import type { BitNet } from "bitnet.ts";
import type { Row, Verdict } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

const seed = 3;
/** What the design asks for. */
const leastShare = 0.6;
/** Of 2B-4T with all cores of a small machine. */
const leastDecode = 12;
const leastPrefill = 60;

await runBench("wasm", async (context) => {
  const { options, isa, threads, rooflines } = context;
  const path = context.model();
  const [nPrompt, nGen] = options.isQuick ? [16, 4] : [128, 32];
  const models: BitNet[] = [];
  for (const count of threads > 1 ? [1, threads] : [1]) {
    const limits = { threads: count, contextLength: nPrompt + nGen + 64 };
    models.push(await context.load(path, { ...limits, backend: "native", isa }));
    models.push(await context.load(path, { ...limits, backend: "wasm" }));
  }
  const cases = models.map((model) => ({
    name: `${model.info.isa} × ${model.info.threads}`,
    sample: (run: number) => runOnce(model, { nPrompt, nGen, seed }, run),
  }));
  for (const { info } of models) await rooflines.read(info.threads);
  const { samples, disturbance } = await context.sample(cases, 5);
  const decodes = samples.map((taken) =>
    median(taken.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond)),
  );
  const prefills = samples.map((taken) =>
    median(taken.map(({ promptTokensPerSecond }) => promptTokensPerSecond)),
  );
  const rows: Row[] = [];
  for (const [i, { info }] of models.entries()) {
    const read = await rooflines.read(info.threads);
    const [decode = 0, prefill = 0] = [decodes[i], prefills[i]];
    // The native one with as many threads stands before it.
    const native = i - (i % 2);
    rows.push({
      backend: info.backend,
      isa: info.isa,
      threads: info.threads,
      decode,
      decodeRatio: decode / (decodes[native] ?? 0),
      decodeShare: read === null ? null : (decode * info.bytesPerToken) / read,
      prefill,
      prefillRatio: prefill / (prefills[native] ?? 0),
      load: info.loadMs,
    });
  }
  for (const model of models) await model.dispose();
  const measured = (key: "decode" | "decodeRatio" | "prefill") => {
    const value = rows.at(-1)?.[key];
    return typeof value === "number" ? value : null;
  };
  const bound = "least";
  const verdicts: Verdict[] = [
    {
      what: "decode of WebAssembly as a share of native's",
      ...{ measured: measured("decodeRatio"), unit: "share", wanted: leastShare, bound },
    },
    {
      what: "decode of WebAssembly",
      ...{ measured: measured("decode"), unit: "tok/s", wanted: leastDecode, bound },
    },
    {
      what: `prefill of ${nPrompt} in WebAssembly`,
      ...{ measured: measured("prefill"), unit: "tok/s", wanted: leastPrefill, bound },
    },
  ];
  return {
    models: [path],
    ...{ isa, threads, rows, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "backend", label: "backend", unit: "" },
      { key: "isa", label: "instruction set", unit: "" },
      { key: "threads", label: "threads", unit: "" },
      { key: "decode", label: "decode", unit: "tok/s" },
      { key: "decodeRatio", label: "× native", unit: "" },
      { key: "decodeShare", label: "of a bare read", unit: "share" },
      { key: "prefill", label: `prefill of ${nPrompt}`, unit: "tok/s" },
      { key: "prefillRatio", label: "× native", unit: "" },
      { key: "load", label: "load", unit: "ms" },
    ],
    verdicts,
    notes: [],
  };
});
