/**
 * The WebGPU backend of bitnet.ts: ternary products exact in integers, everything else within derived tolerances of the reference backend, on a
 * page, in a worker, and in Node with the optional package `webgpu`. Importing it starts nothing.
 */
import { type Backend, BitNetError, type WgslIsa } from "@bitnet.ts/core";
import { WebGpuBackend } from "./backend.ts";
import { type AdapterReport, Device, findAdapter } from "./device.ts";
import { proveDevice } from "./prove.ts";

export { type Bandwidth, type BandwidthOptions, measureGpuBandwidth } from "./bandwidth.ts";
export type { AdapterReport } from "./device.ts";

export interface WebGpuBackendOptions {
  /** Whether a software adapter will do. Default true: who asks for this backend by name gets it. */
  allowFallback?: boolean;
  /** `wgsl-dot4` or `wgsl-plain`, with or without integer dot products; default: with, where the language has them. */
  isa?: string;
}

const isas: readonly WgslIsa[] = ["wgsl-dot4", "wgsl-plain"];

/**
 * @throws BitNetError BACKEND_UNAVAILABLE when there is no WebGPU, no adapter but software where that is not allowed, or one that computes
 * wrongly; the message says which.
 */
export async function createWebGpuBackend(
  options: WebGpuBackendOptions = {},
): Promise<Backend & { readonly adapter: AdapterReport }> {
  const isa = isas.find((each) => each === options.isa);
  if (options.isa !== undefined && isa === undefined) {
    const text = `webgpu: there is no variant "${options.isa}"; choose one of ${isas.join(", ")}`;
    throw new BitNetError("BACKEND_UNAVAILABLE", text);
  }
  const { allowFallback = true } = options;
  const opened = { allowFallback, ...(isa === undefined ? {} : { isa }) };
  const device = await Device.open(opened);
  try {
    const backend = new WebGpuBackend(device, opened);
    await proveDevice(backend);
    return backend;
  } catch (error) {
    device.destroy();
    throw unproved(error);
  }
}

/** A driver that cannot even do the known answers is as good as none. */
function unproved(error: unknown): BitNetError {
  if (error instanceof BitNetError && error.code === "BACKEND_UNAVAILABLE") return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new BitNetError(
    "BACKEND_UNAVAILABLE",
    `webgpu: the known answers fail: ${reason.replace(/^webgpu: /, "")}`,
    {
      cause: error,
    },
  );
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
