/** The Node side of platform.ts: WebGPU by the optional package `webgpu` (Dawn), and files. */
import type { GpuEntry } from "./platform.ts";

export { openFileSource as openFile } from "@bitnet.ts/core/node";

/** Kept for as long as the process lives: Dawn crashes when what `create` gave is collected while a device lives. */
let created: GPU | undefined;

/** By a name that bundlers do not follow: most installations have no such package. */
const optionalPackage = "webgpu";

export async function openGpu(): Promise<GpuEntry> {
  if (globalThis.navigator?.gpu) return { gpu: globalThis.navigator.gpu };
  if (created !== undefined) return { gpu: created };
  try {
    const { create }: typeof import("webgpu") = await import(
      /* webpackIgnore: true */ /* @vite-ignore */ optionalPackage
    );
    created = create([]) as GPU;
    return { gpu: created };
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

function reasonOf(error: unknown): string {
  if ((error as NodeJS.ErrnoException | undefined)?.code === "ERR_MODULE_NOT_FOUND")
    return "the optional package webgpu is not installed (npm install webgpu)";
  return `the package webgpu does not load: ${error instanceof Error ? error.message : String(error)}`;
}
