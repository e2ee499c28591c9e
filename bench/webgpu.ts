/**
 * WebGPU on the adapter that there is: decode and prefill, what of a bare read of the device's memory decode comes to, and how much handing tokens from step to
 * step on the device gains. Needs the package `webgpu`; on a software adapter it runs and means nothing.
 */
import { median, runOnce } from "@bitnet.ts/cli/measuring";
import { measureGpuBandwidth } from "@bitnet.ts/webgpu";
import type { Row, Verdict } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

const seed = 3;
/** What the design asks for. */
const leastShare = 0.7;
/** Of 2B-4T on an H100 or H200: microsoft/BitNet's CUDA kernels on an A100. */
const leastDecode = 290;

await runBench("webgpu", async (context) => {
  const { options, say } = context;
  const { bytesPerSecond, adapter } = await measureGpuBandwidth(
    options.isQuick ? { bytes: 2 ** 20, leastMs: 1 } : {},
  );
  say(`adapter: ${adapter.name}${adapter.isFallback ? " (in software)" : ""}`);
  if (adapter.isFallback && !options.isQuick)
    throw new Error(
      "there is a software adapter only, which takes seconds for a token; --quick tries every line on it",
    );
  const path = context.model();
  const [nPrompt, nGen] = options.isQuick ? [8, 4] : [512, 256];
  const model = await context.load(path, { backend: "webgpu", contextLength: nPrompt + nGen + 64 });
  const sampled = { temperature: 0.7, topP: 0.9 };
  const cases = [
    { name: "greedy, chained", sampling: {} },
    // All logits come back, and the token is chosen here before the next one is begun.
    { name: "temperature 0.7, top-p 0.9", sampling: sampled },
  ];
  const { samples, disturbance } = await context.sample(
    cases.map(({ name, sampling }) => ({
      name,
      sample: (run: number) => runOnce(model, { nPrompt, nGen, seed, sampling }, run),
    })),
    5,
  );
  const rows = samples.map((taken, i): Row => {
    const decode = median(taken.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond));
    return {
      case: cases[i]?.name ?? "",
      isa: model.info.isa,
      decode,
      share: (decode * model.info.bytesPerToken) / bytesPerSecond,
      prefill: median(taken.map(({ promptTokensPerSecond }) => promptTokensPerSecond)),
      load: model.info.loadMs,
    };
  });
  await model.dispose();
  const measured = (key: "decode" | "share") => {
    const value = rows[0]?.[key];
    return typeof value === "number" && !adapter.isFallback ? value : null;
  };
  const bound = "least" as const;
  const remark = adapter.isFallback ? { remark: "a software adapter" } : {};
  const verdicts: Verdict[] = [
    {
      what: "decode as a share of a bare read",
      ...{ measured: measured("share"), unit: "share", wanted: leastShare, bound, ...remark },
    },
    {
      what: "decode of 2B-4T on an H100 or H200",
      ...{ measured: measured("decode"), unit: "tok/s", wanted: leastDecode, bound, ...remark },
    },
  ];
  return {
    models: [path],
    ...{ isa: context.isa, threads: 1, rows, disturbance, verdicts },
    rooflines: [
      {
        name: `bare read of ${adapter.name}`,
        value: bytesPerSecond,
        best: bytesPerSecond,
        unit: "B/s",
        threads: 1,
      },
    ],
    columns: [
      { key: "case", label: "sampler", unit: "" },
      { key: "isa", label: "kernels", unit: "" },
      { key: "decode", label: "decode", unit: "tok/s" },
      { key: "share", label: "of a bare read", unit: "share" },
      { key: "prefill", label: `prefill of ${nPrompt}`, unit: "tok/s" },
      { key: "load", label: "load", unit: "ms" },
    ],
    notes: [],
  };
});
