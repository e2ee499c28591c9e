/** Holds the one model that is loaded; loading another frees it first. Knows no DOM. */
import { type BackendName, BitNet, BitNetError, type DownloadProgress } from "bitnet.ts";
import { openLocalFile } from "bitnet.ts/cache";
import type { Source } from "./load-source.ts";

export interface Watcher {
  onProgress(fraction: number): void;
  onDownload(progress: DownloadProgress): void;
  onNotice(line: string): void;
}

export class ModelHolder {
  current: BitNet | null = null;
  private loading: AbortController | null = null;
  private readonly hub: string | null;
  /** Null: the library's choice. */
  private backend: BackendName | null = null;

  /** @param hub Address of the hub, where it is not the usual one. */
  constructor(hub: string | null) {
    this.hub = hub;
  }

  /** @returns Null when it was cancelled or another was asked for. */
  async load(source: Source, watcher: Watcher): Promise<BitNet | null> {
    this.cancel();
    const loading = new AbortController();
    this.loading = loading;
    const { signal } = loading;
    const before = this.current;
    this.current = null;
    await before?.dispose().catch(() => {});
    try {
      const model = await BitNet.load(await this.open(source, signal), {
        ...watcher,
        signal,
        worker: () =>
          new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "bitnet.ts" }),
        ...(this.backend === null ? {} : { backend: this.backend }),
        ...(this.hub === null ? {} : { hub: { endpoint: this.hub } }),
      });
      if (signal.aborted) {
        await model.dispose();
        return null;
      }
      this.current = model;
      return model;
    } catch (error) {
      if (signal.aborted) return null;
      throw error;
    }
  }

  /** A GPU that was lost once is lost again: models are loaded without it from then on. */
  noteFailure(error: unknown): void {
    const isLost = error instanceof BitNetError && error.code === "BACKEND_FAILED";
    if (isLost && this.current?.info.backend === "webgpu") this.backend = "wasm";
  }

  cancel(): void {
    this.loading?.abort();
  }

  private async open(source: Source, signal: AbortSignal): Promise<string | Blob> {
    if (source.kind === "file") return source.file;
    if (source.kind === "copy") return openLocalFile(source.model);
    if (source.kind === "place") return source.place;
    const response = await fetch("./tiny.gguf", { signal });
    if (!response.ok) throw new Error(`the tiny model is missing here (${response.status})`);
    return response.blob();
  }
}
