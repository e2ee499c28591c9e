/**
 * The native backend of bitnet.ts: SIMD kernels in C++ behind Node-API, bit for bit what the reference backend computes.
 */
import type { Backend, ScreeningOption } from "@bitnet.ts/core";
import { openBackend, requireBinding } from "./backend.ts";
import { loadBinding, type NativeVariant } from "./binding.ts";
import { callNative } from "./native-error.ts";
import { availableThreads } from "./threads.ts";

export type { NativeVariant } from "./binding.ts";
export { availableThreads } from "./threads.ts";

export interface NativeBackendOptions extends ScreeningOption {
  /**
   * Threads of every step, the pool's dispatcher included; never more than `availableThreads()`. Default: up to so many, as far as a
   * step is large enough to be worth them.
   */
  threads?: number;
  /** The only instruction set to consider. Default: the variable BITNET_ISA, else the best that proves itself. */
  isa?: string;
}

/**
 * @throws BitNetError BACKEND_UNAVAILABLE when there is no binary or the instruction set is unknown, not offered by this machine or
 * gives wrong answers; INVALID_ARGUMENT.
 */
export async function createNativeBackend(options: NativeBackendOptions = {}): Promise<Backend> {
  const available = availableThreads();
  const threads = Math.min(options.threads ?? available, available);
  const { isa = forcedIsa(), screening = true } = options;
  return openBackend(threads, isa, { allThreads: options.threads !== undefined, screening });
}

function forcedIsa(): string | undefined {
  const { BITNET_ISA: isa } = process.env;
  return isa === "" ? undefined : isa;
}

/** Native memory that is alive in this process: executables, their sources, caches and steps. */
export function nativeAllocations(): { count: number; bytes: number } {
  const [count, bytes] = requireBinding().allocations();
  return { count, bytes };
}

export interface NativeStatus {
  /** Path of the binary, or null when there is none that works. */
  path: string | null;
  /** Why the backend cannot be used; null when it can. */
  reason: string | null;
  /** The instruction sets of this architecture, best first. */
  variants: readonly NativeVariant[];
  /** What would be chosen now, BITNET_ISA considered. */
  chosen: string | null;
}

/** What `bitnet doctor` shows. Tries every instruction set, which takes some milliseconds the first time. */
export function nativeStatus(): NativeStatus {
  const loaded = loadBinding();
  if (loaded.binding === null) return { path: null, reason: loaded.reason, variants: [], chosen: null };
  const { binding, path } = loaded;
  const variants = binding.variants();
  try {
    const { isa } = callNative(() => binding.selectKernels(forcedIsa()));
    return { path, reason: null, variants, chosen: isa };
  } catch (error) {
    return { path, reason: (error as Error).message, variants, chosen: null };
  }
}

/** Larger than any last-level cache that shares a machine with few memory channels. */
const bandwidthBytes = 512 * 2 ** 20;
const bandwidthRepeats = 7;

/**
 * Bytes per second that `threads` threads (default: all available) read together when they do nothing else: the yardstick of `bench`.
 * Takes about half a second, off the JavaScript thread.
 * @throws BitNetError BACKEND_UNAVAILABLE when there is no binary; INVALID_ARGUMENT.
 */
export async function measureReadBandwidth({
  threads = availableThreads(),
}: {
  threads?: number;
}): Promise<number> {
  return callNative(() => requireBinding().readBandwidth(threads, bandwidthBytes, bandwidthRepeats));
}
