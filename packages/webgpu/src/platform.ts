/** Where WebGPU comes from on a page and in a worker; platform.node.ts is chosen by the "node" condition. */
import { BitNetError, type ByteSource } from "@bitnet.ts/core";

/** What gives adapters, and lets go of it; or why there is none. */
export type GpuEntry = { gpu: GPU } | { reason: string };

export async function openGpu(): Promise<GpuEntry> {
  const gpu = globalThis.navigator?.gpu;
  if (gpu !== undefined) return { gpu };
  const secure =
    globalThis.isSecureContext === false ? "; the page must come over https or from localhost" : "";
  return { reason: `this browser offers no WebGPU here${secure}` };
}

export async function openFile(path: string): Promise<ByteSource> {
  throw new BitNetError("INVALID_ARGUMENT", `${path}: a browser cannot open files by their path`);
}
