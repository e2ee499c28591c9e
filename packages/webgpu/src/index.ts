/**
 * The WebGPU backend of bitnet.ts: ternary products exact in integers, everything else within derived tolerances of the reference backend, on a
 * page, in a worker, and in Node with the optional package `webgpu`. Importing it starts nothing.
 */
import type { Backend } from "@bitnet.ts/core";
import { WebGpuBackend } from "./backend.ts";
import { type AdapterReport, Device, findAdapter } from "./device.ts";
import { proveDevice } from "./prove.ts";

export type { AdapterReport } from "./device.ts";

export interface WebGpuBackendOptions {
  /** Whether a software adapter will do. Default true: who asks for this backend by name gets it. */
  allowFallback?: boolean;
}

/**
 * @throws BitNetError BACKEND_UNAVAILABLE when there is no WebGPU, no adapter but software where that is not allowed, or one that computes
 * wrongly; the message says which.
 */
export async function createWebGpuBackend(
  options: WebGpuBackendOptions = {},
): Promise<Backend & { readonly adapter: AdapterReport }> {
  const device = await Device.open(options);
  try {
    const backend = new WebGpuBackend(device);
    await proveDevice(backend);
    return backend;
  } catch (error) {
    device.destroy();
    throw error;
  }
}

export interface WebGpuStatus {
  /** Why the backend cannot be used; null when it can. */
  reason: string | null;
  /** The adapter that would be used, where there is one. */
  adapter: AdapterReport | null;
}

/** What `bitnet doctor` shows. Proves the adapter with known answers, which takes a second or more on a software adapter. */
export async function webgpuStatus(): Promise<WebGpuStatus> {
  let adapter: AdapterReport | null = null;
  try {
    adapter = (await findAdapter()).report;
    const device = await Device.open();
    try {
      await proveDevice(new WebGpuBackend(device));
    } finally {
      device.destroy();
    }
    return { reason: null, adapter };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error), adapter };
  }
}
