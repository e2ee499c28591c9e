/** Texts to embed, alone and together: how fast they are read, and what pooling all states costs beside pooling one. */
import { median } from "@bitnet.ts/cli/measuring";
import type { Pooling } from "@bitnet.ts/core";
import type { BitNet } from "bitnet.ts";
import { bodyMacs } from "./harness/model-cost.ts";
import type { Row } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

interface Setting {
  nTokens: number;
  together: number;
  pooling: Pooling;
}

await runBench("embed", async (context) => {
  const { options, isa, threads, rooflines } = context;
  const path = context.model();
  const [lengths, nTexts] = options.isQuick ? [[8], 4] : [[16, 64, 128], 64];
  const settings = lengths.flatMap((nTokens): Setting[] => [
    { nTokens, together: 1, pooling: "last" },
    { nTokens, together: nTexts, pooling: "last" },
    { nTokens, together: nTexts, pooling: "mean" },
  ]);
  const model = await context.load(path, { isa, threads });
  await rooflines.multiply(isa, threads);
  const cases = settings.map((setting) => ({
    name: `${setting.together} × ${setting.nTokens}, ${setting.pooling}`,
    // One by one, every text costs the same: as few as take about as long as the shortest do together.
    sample: (run: number) =>
      tokensPerSecond(
        model,
        setting,
        setting.together > 1 ? nTexts : Math.min(nTexts, 1024 / setting.nTokens),
        run,
      ),
  }));
  const { samples, disturbance } = await context.sample(cases, 3);
  const multiply = await rooflines.multiply(isa, threads);
  const rows = settings.map(({ nTokens, together, pooling }, i): Row => {
    const rate = median(samples[i] ?? []);
    return {
      nTokens,
      together,
      pooling,
      rate,
      texts: rate / nTokens,
      share: multiply === null ? null : (rate * bodyMacs(model.info)) / multiply,
    };
  });
  await model.dispose();
  return {
    models: [path],
    ...{ isa, threads, rows, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "nTokens", label: "tokens a text", unit: "" },
      { key: "together", label: "texts together", unit: "" },
      { key: "pooling", label: "pooling", unit: "" },
      { key: "rate", label: "read", unit: "tok/s" },
      { key: "texts", label: "texts per second", unit: "" },
      { key: "share", label: "of a bare multiply loop", unit: "share" },
    ],
    verdicts: [],
    notes: ["texts are random token ids, of which none begin alike: nothing comes from the cache"],
  };
});

/** Of `nTexts` texts, `together` at a time. */
async function tokensPerSecond(
  model: BitNet,
  { nTokens, together, pooling }: Setting,
  nTexts: number,
  run: number,
): Promise<number> {
  const { vocabSize } = model.info;
  const texts = Array.from({ length: nTexts }, (_, text) =>
    Array.from(
      { length: nTokens },
      (_, i) => (run * 7919 + text * 104729 + (i + 1) * (text + run + 13) * 31) % vocabSize,
    ),
  );
  let ms = 0;
  for (let first = 0; first < nTexts; first += together) {
    const start = performance.now();
    await model.embed(texts.slice(first, first + together), { pooling });
    ms += performance.now() - start;
  }
  return (1000 * nTexts * nTokens) / ms;
}
