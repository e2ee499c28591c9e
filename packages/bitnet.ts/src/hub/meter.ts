/** Progress of a download of several files. */
import type { DownloadPhase, DownloadProgress } from "../types.ts";
import type { HubFile } from "./model-info.ts";

type Named = Pick<HubFile, "path">;

/** Adds up what the files of a model have by now, and measures the speed over the last seconds. */
export class Meter {
  private readonly done = new Map<string, number>();
  private readonly sizes: Map<string, number>;
  private readonly report: ((progress: DownloadProgress) => void) | undefined;
  private samples: { at: number; bytes: number }[] = [];
  private current: DownloadPhase = "downloading";

  constructor(files: readonly HubFile[], report: ((progress: DownloadProgress) => void) | undefined) {
    this.sizes = new Map(files.map(({ path, size }) => [path, size]));
    this.report = report;
  }

  phase(file: Named, phase: DownloadPhase): void {
    this.current = phase;
    this.samples = [];
    this.tell(file);
  }

  bytes(file: Named, done: number): void {
    this.done.set(file.path, done);
    this.tell(file);
  }

  /** What a server says when nobody has promised it. */
  sized(path: string, size: number): void {
    this.sizes.set(path, size);
  }

  finished(file: HubFile): void {
    this.bytes(file, file.size);
  }

  private tell({ path }: Named): void {
    const doneBytes = [...this.done.values()].reduce((sum, bytes) => sum + bytes, 0);
    const totalBytes = [...this.sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
    const bytesPerSecond = this.speed(doneBytes);
    this.report?.({
      phase: this.current,
      file: path,
      doneBytes,
      totalBytes,
      bytesPerSecond,
      secondsLeft:
        bytesPerSecond === null || bytesPerSecond <= 0 ? null : (totalBytes - doneBytes) / bytesPerSecond,
    });
  }

  /** One sample per quarter of a second, over five seconds. */
  private speed(bytes: number): number | null {
    const at = performance.now();
    const last = this.samples.at(-1);
    if (last === undefined || at - last.at >= 250) this.samples.push({ at, bytes });
    while (this.samples.length > 2 && at - (this.samples[0]?.at ?? at) > 5000) this.samples.shift();
    const first = this.samples[0];
    if (first === undefined || at - first.at < 500) return null;
    return Math.max(0, ((bytes - first.bytes) * 1000) / (at - first.at));
  }
}
