/** Memory of a model, empty and after a prompt: what the backend reports beside what the system counts for the whole process. */
import type { MemoryStage } from "./children/first-token.ts";
import { firstTokenReport } from "./harness/first-token.ts";
import type { Row } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

await runBench("memory", async (context) => {
  const { options, isa, threads, rooflines } = context;
  const path = context.model();
  const nPrompt = options.isQuick ? 32 : 1024;
  const one = { name: "memory", sample: () => firstTokenReport(path, context, nPrompt) };
  await rooflines.read(threads);
  const { samples, disturbance } = await context.sample([one], 1);
  const report = samples[0]?.[0];
  if (report === undefined) throw new Error("no sample was taken");
  const { before, loaded, begun, used, contextLength } = report;
  const read = await rooflines.read(threads);
  const rows: Row[] = [
    rowOf(`loaded, empty context of ${contextLength}`, loaded),
    rowOf("after the first token, the head's copy made", begun),
    rowOf(`after a prompt of ${nPrompt}`, used),
  ];
  const megabytes = (bytes: number | undefined) => (bytes === undefined ? null : bytes / 1e6);
  return {
    models: [path],
    ...{ isa, threads, rows, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "stage", label: "stage", unit: "" },
      { key: "private", label: "private to the model", unit: "MB" },
      { key: "mapped", label: "mapped file", unit: "MB" },
      { key: "kvPerToken", label: "per token of context", unit: "MB" },
      { key: "anonymous", label: "process, anonymous", unit: "MB" },
      { key: "shared", label: "process, files and shared", unit: "MB" },
    ],
    verdicts: [
      {
        what: "private memory, screening on, context all but empty",
        measured: megabytes(begun.stats.privateBytes),
        unit: "MB",
        wanted: 600,
        bound: "most",
      },
    ],
    notes: [
      `before loading, Node alone had ${megabytes(before?.anonymousBytes)?.toFixed(0) ?? "unknown"} MB of anonymous memory`,
      ...(read === null
        ? []
        : [
            `bound: decoding reads ${(report.bytesPerToken / 1e6).toFixed(0)} MB a token; at the speed of a bare read that is ${((1000 * report.bytesPerToken) / read).toFixed(1)} ms`,
          ]),
    ],
  };
});

function rowOf(stage: string, { stats, process }: MemoryStage): Row {
  return {
    stage,
    private: stats.privateBytes / 1e6,
    mapped: stats.mappedBytes / 1e6,
    kvPerToken: stats.kvBytesPerToken / 1e6,
    anonymous: process === null ? null : process.anonymousBytes / 1e6,
    shared: process === null ? null : process.sharedBytes / 1e6,
  };
}
