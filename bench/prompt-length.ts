/** Prompts of growing length, and generation behind them: what attention adds to the bytes and multiply-adds of the weights. */
import { median, runOnce } from "@bitnet.ts/cli/measuring";
import { attentionMacs, bodyMacs } from "./harness/model-cost.ts";
import type { Row } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

const seed = 2;

await runBench("prompt-length", async (context) => {
  const { options, isa, threads, rooflines } = context;
  const path = context.model();
  const model = await context.load(path, { isa, threads });
  const { info } = model;
  const nGen = options.isQuick ? 2 : 16;
  const wanted = options.isQuick ? [16, 64] : [16, 64, 256, 512, 1024, 2048, 4096];
  const lengths = [...new Set(wanted.map((length) => Math.min(length, info.contextLength - nGen)))];
  const cases = lengths.map((nPrompt) => ({
    name: `${nPrompt} tokens`,
    sample: (run: number) => runOnce(model, { nPrompt, nGen, seed: seed + nPrompt }, run),
  }));
  await rooflines.read(threads);
  await rooflines.multiply(isa, threads);
  await rooflines.multiplyFloats(isa, threads);
  const { samples, disturbance } = await context.sample(cases, 5);
  const { kvBytesPerToken } = model.stats();
  const { bytesPerToken } = info;
  await model.dispose();
  const read = await rooflines.read(threads);
  const multiply = await rooflines.multiply(isa, threads);
  const multiplyFloats = await rooflines.multiplyFloats(isa, threads);
  const leastSeconds = (length: number) =>
    multiply === null || multiplyFloats === null
      ? null
      : (length * bodyMacs(info)) / multiply + attentionMacs(info, length) / multiplyFloats;
  const rows: Row[] = lengths.map((length, i) => {
    const middle = (key: "promptTokensPerSecond" | "decodeTokensPerSecond" | "firstTokenMs") =>
      median((samples[i] ?? []).map((sample) => sample[key]));
    const prefill = middle("promptTokensPerSecond");
    const decode = middle("decodeTokensPerSecond");
    const bytes = bytesPerToken + (length + nGen / 2) * kvBytesPerToken;
    const least = leastSeconds(length);
    return {
      length,
      prefill,
      prefillShare: least === null ? null : (least * prefill) / length,
      firstToken: middle("firstTokenMs"),
      decode,
      decodeShare: read === null ? null : (decode * bytes) / read,
    };
  });
  const at2048 = rows.find((row) => row.length === 2048)?.prefill;
  return {
    models: [path],
    ...{ isa, threads, rows, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "length", label: "prompt", unit: "tokens" },
      { key: "prefill", label: "prefill", unit: "tok/s" },
      { key: "prefillShare", label: "of bare multiply loops", unit: "share" },
      { key: "firstToken", label: "first token", unit: "ms" },
      { key: "decode", label: "decode behind it", unit: "tok/s" },
      { key: "decodeShare", label: "of a bare read", unit: "share" },
    ],
    verdicts: [
      {
        what: "prefill of 2048 tokens with AMX",
        measured: isa === "amx" && typeof at2048 === "number" ? at2048 : null,
        unit: "tok/s",
        wanted: 300,
        bound: "least",
        ...(isa === "amx" ? {} : { remark: "this machine has no AMX" }),
      },
    ],
    notes: [
      "bare multiply loops: int8 multiply-adds for the ternary matrices and, after them, f32 multiply-adds for attention",
    ],
  };
});
