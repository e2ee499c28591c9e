/**
 * A sharded folder of bf16 masters converted by the `bitnet` command, beside copying its bytes: both read all of it and write to the same disk, and
 * both wait until the disk has what they wrote. `--shape small` is done in seconds; the default has a few layers of the 8B shape.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { median } from "@bitnet.ts/cli/measuring";
import { ensureMasters, mastersShapes } from "./harness/masters-folder.ts";
import { cacheFolder, repository } from "./harness/models.ts";
import type { Row, Verdict } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

const targets = ["i2_s", "tq2_0"] as const;

/** What the process took, on the descriptor behind the usual three. */
const report = `data:text/javascript,import{writeSync}from"node:fs";process.on("exit",()=>writeSync(3,JSON.stringify(process.resourceUsage())))`;

interface Sample {
  seconds: number;
  /** Of the processor, user and system. */
  busySeconds: number;
  peakBytes: number;
}

await runBench("convert", async ({ options, isa, threads, sample }) => {
  const isSmall = options.isQuick || options.shape === "small";
  const name = isSmall ? "small" : "8b";
  const layers = isSmall ? 1 : 8;
  const folder = await ensureMasters({ name, ...mastersShapes[name], layers, shards: 4 });
  const sourceBytes = readdirSync(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
  const copy = { name: "copy", sample: () => copied(folder) };
  const conversions = targets.map((target) => ({ name: target, sample: () => converted(folder, target) }));
  const { samples, disturbance } = await sample([copy, ...conversions], 3);
  const rows = ["copy", ...targets].map((what, i): Row => {
    const own = samples[i] ?? [];
    const seconds = median(own.map((each) => each.seconds));
    const copySeconds = median((samples[0] ?? []).map((each) => each.seconds));
    return {
      what: what === "copy" ? "copying" : `to ${what}`,
      rate: sourceBytes / seconds / 1e9,
      share: copySeconds / seconds,
      busy: median(own.map((each) => each.busySeconds)) / (sourceBytes / 1e9),
      // Of the copy it would be that of this process.
      peak: what === "copy" ? null : Math.max(...own.map((each) => each.peakBytes)) / 1e6,
    };
  });
  return {
    models: [folder],
    ...{ isa, threads, rows, disturbance, rooflines: [] },
    columns: [
      { key: "what", label: "what is done", unit: "" },
      { key: "rate", label: "bytes of the source per second", unit: "GB/s" },
      { key: "share", label: "of copying", unit: "share" },
      { key: "busy", label: "processor time a GB", unit: "s" },
      { key: "peak", label: "peak memory", unit: "MB" },
    ],
    verdicts: rows.slice(1).flatMap(({ what, share, peak }): Verdict[] => [
      { what: `${what}, beside copying`, measured: Number(share), unit: "×", wanted: 0.6, bound: "least" },
      { what: `${what}, peak memory`, measured: Number(peak), unit: "MB", wanted: 1000, bound: "most" },
    ]),
    notes: [
      `${(sourceBytes / 1e9).toFixed(1)} GB in four shards, of which the system may have some in memory`,
    ],
  };
});

/** Reads and writes in pieces of 4 MiB. */
async function copied(folder: string): Promise<Sample> {
  const path = join(cacheFolder(), `copied-${process.pid}`);
  const begun = performance.now();
  const before = process.cpuUsage();
  const out = await open(path, "w");
  try {
    const piece = new Uint8Array(2 ** 22);
    for (const name of readdirSync(folder)) {
      const file = await open(join(folder, name));
      for (;;) {
        const { bytesRead } = await file.read(piece, 0, piece.length);
        if (bytesRead === 0) break;
        await out.write(piece, 0, bytesRead);
      }
      await file.close();
    }
    await out.sync();
  } finally {
    await out.close();
    rmSync(path, { force: true });
  }
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - begun) / 1000;
  return { seconds, busySeconds: (user + system) / 1e6, peakBytes: process.resourceUsage().maxRSS * 1024 };
}

async function converted(folder: string, target: string): Promise<Sample> {
  const output = join(cacheFolder(), `converted-${process.pid}.gguf`);
  const command = [
    join(repository, "packages/cli/bin/bitnet.js"),
    "convert",
    folder,
    "-o",
    output,
    "--to",
    target,
  ];
  const begun = performance.now();
  const child = spawn(process.execPath, ["--import", report, ...command], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  let text = "";
  child.stdio[3]?.on("data", (piece) => {
    text += piece;
  });
  const [status] = await once(child, "close");
  const seconds = (performance.now() - begun) / 1000;
  rmSync(output, { force: true });
  if (status !== 0) throw new Error(`bitnet convert ended with status ${status}`);
  const { userCPUTime, systemCPUTime, maxRSS } = JSON.parse(text) as NodeJS.ResourceUsage;
  return { seconds, busySeconds: (userCPUTime + systemCPUTime) / 1e6, peakBytes: maxRSS * 1024 };
}
