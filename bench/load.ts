/** From opening the file to the first token, in fresh processes with the file in the page cache. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { median } from "@bitnet.ts/cli/measuring";
import { firstTokenReport } from "./harness/first-token.ts";
import { runBench } from "./harness/run-bench.ts";

await runBench("load", async (context) => {
  const { isa, threads, rooflines } = context;
  const path = context.model();
  for await (const _ of createReadStream(path, { highWaterMark: 2 ** 22 })); // into the page cache
  const one = { name: "load", sample: () => firstTokenReport(path, context, 0) };
  await rooflines.read(threads);
  const { samples, disturbance } = await context.sample([one], 7);
  const [reports = []] = samples;
  const read = await rooflines.read(threads);
  const middle = (key: "startMs" | "loadMs" | "firstTokenMs") => median(reports.map((report) => report[key]));
  const total = median(reports.map(({ loadMs, firstTokenMs }) => loadMs + firstTokenMs));
  const bytes = reports[0]?.bytesPerToken ?? 0;
  const leastMs = read === null ? null : (1000 * bytes) / read;
  return {
    models: [path],
    ...{ isa, threads, disturbance },
    rooflines: rooflines.all,
    columns: [
      { key: "file", label: "file", unit: "MB" },
      { key: "start", label: "start of Node and modules", unit: "ms" },
      { key: "load", label: "load", unit: "ms" },
      { key: "firstToken", label: "first token", unit: "ms" },
      { key: "total", label: "load to first token", unit: "ms" },
      { key: "least", label: "bare read of one token's bytes", unit: "ms" },
      { key: "share", label: "share", unit: "share" },
    ],
    rows: [
      {
        file: (await stat(path)).size / 1e6,
        start: middle("startMs"),
        load: middle("loadMs"),
        firstToken: middle("firstTokenMs"),
        total,
        least: leastMs,
        share: leastMs === null ? null : leastMs / total,
      },
    ],
    verdicts: [
      { what: "load to first token, warm", measured: total, unit: "ms", wanted: 500, bound: "most" },
    ],
    notes: [],
  };
});
