/** What commands that train share: the choice of kernels, progress on stderr, the picture of the log. */
import { join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import type { Kernels, LogEntry, OpenRun } from "@bitnet.ts/train";
import { formatCount } from "./format.ts";
import type { Session } from "./session.ts";
import { movesCursor } from "./terminal.ts";

export type Library = typeof import("@bitnet.ts/train");

export function chooseKernels(
  library: Library,
  { reference, threads }: { reference?: boolean; threads?: number },
  session: Session,
): Kernels {
  if (reference) return library.referenceKernels("f32");
  try {
    return library.nativeKernels(threads === undefined ? {} : { threads });
  } catch (error) {
    if (!(error instanceof BitNetError) || error.code !== "BACKEND_UNAVAILABLE") throw error;
    session.note(`bitnet: ${error.message}; the slow reference kernels serve`);
    return library.referenceKernels("f32");
  }
}

const reportEveryMs = 5000;

const watchEveryMs = 1000;
/** Between pictures for the page that shows them. */
const plotEveryMs = 3000;
const watchRows = 10;

/** `--watch`: the loss drawn again and again over itself. */
function createWatcher(library: Library, folder: string, steps: number): (entry: LogEntry) => void {
  const stream = process.stderr;
  let last = 0;
  let nLines = 0;
  return ({ step, kind }) => {
    const now = performance.now();
    const isDue = now - last >= watchEveryMs || step === steps;
    if (kind === "checkpoint" || !isDue) return;
    last = now;
    const lines = library.drawLog(
      library.readLog(join(folder, "log.jsonl")),
      stream.columns ?? 80,
      watchRows,
    );
    stream.write(`${nLines > 0 ? `\u001b[${nLines}A\u001b[J` : ""}${lines.join("\n")}\n`);
    nLines = lines.length;
  };
}

/**
 * Trains to the end or until the session's signal, reports progress, and keeps `loss.svg` beside the log; with `watch` also a page that
 * shows it.
 */
export async function trainTo(
  library: Library,
  trainer: OpenRun["trainer"],
  { name, ...flags }: { name: string; watch?: boolean; output: string },
  session: Session,
): Promise<void> {
  // One after the other, as they are the same file.
  let plotted: Promise<unknown> = Promise.resolve();
  const plot = () => {
    plotted = plotted
      .catch(() => {})
      .then(() =>
        library.writeWhole(join(flags.output, "loss.svg"), [plotBytes(library, flags.output, name)]),
      );
    return plotted;
  };
  const page = join(flags.output, "loss.html");
  if (flags.watch) {
    await library.writeWhole(page, [new TextEncoder().encode(library.watchPage(name))]);
    session.note(`${page}: shows the loss while training goes on`);
  }
  let lastPlot = performance.now();
  const isPlotDue = ({ kind }: LogEntry) =>
    kind === "evaluation" || (flags.watch && performance.now() - lastPlot >= plotEveryMs);
  const report = progressOf(library, flags, trainer.lastStep, session);
  await trainer.run({
    signal: session.signal,
    onEntry: (entry) => {
      report(entry);
      if (!isPlotDue(entry)) return;
      lastPlot = performance.now();
      plot().catch(() => {}); // the next one comes soon
    },
  });
  await plot();
}

/** The picture where it was asked for and stderr is a terminal, else lines. */
function progressOf(
  library: Library,
  { watch, output }: { watch?: boolean; output: string },
  steps: number,
  session: Session,
): (entry: LogEntry) => void {
  if (watch && movesCursor(process.stderr)) return createWatcher(library, output, steps);
  if (watch)
    session.note(
      "bitnet: --watch draws on a terminal that moves its cursor, and stderr is none; lines are printed instead",
    );
  return createReporter(steps, session);
}

/** A line now and then, and one for every evaluation. */
function createReporter(steps: number, session: Session): (entry: LogEntry) => void {
  let last = 0;
  let mean: number | null = null;
  return (entry) => {
    if (entry.kind === "evaluation")
      session.note(`step ${entry.step}: evaluation loss ${entry.loss.toFixed(4)}`);
    if (entry.kind !== "step") return;
    mean = mean === null ? entry.loss : mean + (entry.loss - mean) * 0.1;
    const now = performance.now();
    if (now - last < reportEveryMs && entry.step !== steps) return;
    last = now;
    const perStep = entry.tokens / entry.step;
    const left = ((steps - entry.step) * perStep) / Math.max(1, entry.tokensPerSecond);
    session.note(
      `step ${entry.step}/${steps}: loss ${mean.toFixed(4)}, rate ${entry.rate.toExponential(2)}, ` +
        `${formatCount(entry.tokensPerSecond)} tok/s, ${formatTime(left)} left`,
    );
  };
}

function formatTime(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function plotBytes(library: Library, folder: string, name: string): Uint8Array {
  return new TextEncoder().encode(library.plotLog(library.readLog(join(folder, "log.jsonl")), name));
}
