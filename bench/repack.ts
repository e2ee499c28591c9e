/** Decode from the denser private copy of the ternary weights, and from the file: what the copy gains, costs to make and takes. */
import { median, runOnce } from "@bitnet.ts/cli/measuring";
import type { BitNet } from "bitnet.ts";
import type { Row } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

const seed = 6;
const kinds = ["none", "dense"] as const;

await runBench("repack", async (context) => {
  const { options, isa, threads, rooflines } = context;
  const path = context.model();
  const [nPrompt, nGen] = options.isQuick ? [8, 4] : [16, 64];
  const notices: string[] = [];
  const models: BitNet[] = [];
  for (const repack of kinds)
    models.push(
      await context.load(path, {
        ...{ isa, threads, repack, contextLength: nPrompt + nGen + 64 },
        onNotice: (line) => notices.push(line),
      }),
    );
  const cases = models.map((model, i) => ({
    name: `repack ${kinds[i]}`,
    sample: (run: number) => runOnce(model, { nPrompt, nGen, seed }, run),
  }));
  await rooflines.read(threads);
  const { samples, disturbance } = await context.sample(cases, 7);
  const read = await rooflines.read(threads);
  const rates = samples.map((taken) =>
    median(taken.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond)),
  );
  const [plain = 0, dense = 0] = rates;
  const rows: Row[] = models.map((model, i) => {
    const { bytesPerToken, loadMs } = model.info;
    const rate = rates[i] ?? 0;
    return {
      body: kinds[i] === "dense" ? "dense copy" : "the file",
      decode: rate,
      gain: rate / plain,
      megabytes: bytesPerToken / 1e6,
      share: read === null ? null : (rate * bytesPerToken) / read,
      private: model.stats().privateBytes / 1e6,
      load: loadMs,
    };
  });
  const isDenser = (models[1]?.info.bytesPerToken ?? 0) < (models[0]?.info.bytesPerToken ?? 0);
  for (const model of models) await model.dispose();
  return {
    models: [path],
    ...{ isa, threads, rows, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "body", label: "body read from", unit: "" },
      { key: "decode", label: "decode", unit: "tok/s" },
      { key: "gain", label: "× the file", unit: "" },
      { key: "megabytes", label: "read per token", unit: "MB" },
      { key: "share", label: "of a bare read", unit: "share" },
      { key: "private", label: "private to the model", unit: "MB" },
      { key: "load", label: "load", unit: "ms" },
    ],
    verdicts: [
      {
        what: "decode from the dense copy against the file",
        measured: isDenser ? dense / plain : null,
        unit: "×",
        wanted: 1.08,
        bound: "least",
        ...(isDenser ? {} : { remark: "nothing could be packed denser here" }),
      },
    ],
    notes: notices,
  };
});
