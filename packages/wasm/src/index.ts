/**
 * The WebAssembly backend of bitnet.ts: the engine of the native backend in workers, bit for bit what the reference backend computes, in browsers
 * and in Node. Importing it starts nothing and touches no global.
 */
import type { Backend, Isa, ScreeningOption } from "@bitnet.ts/core";
import { availableThreads, forcedIsa, type Places } from "#host";
import { WasmBackend } from "./backend.ts";
import { choose, judge, wasmIsas } from "./choose.ts";

export interface WasmBackendOptions extends Places, ScreeningOption {
  /**
   * Threads of every step. Default: all that the machine has, as far as a step is large enough to be worth them. Always 1 on a page that is not
   * cross-origin isolated, where workers cannot share memory.
   */
  threads?: number;
  /** The only variant to consider (`wasm-i32-madd`, …). Default: the variable BITNET_ISA in Node, else the fastest that proves itself. */
  isa?: string;
}

const ownPlaces: Places = {};

/**
 * @throws BitNetError BACKEND_UNAVAILABLE when the module cannot be loaded, or the variant is unknown or gives wrong answers here;
 * INVALID_ARGUMENT.
 */
export async function createWasmBackend(options: WasmBackendOptions = {}): Promise<Backend> {
  const { threads = availableThreads(), isa, screening = true, worker, wasmUrl } = options;
  const places = worker || wasmUrl ? { ...(worker && { worker }), ...(wasmUrl && { wasmUrl }) } : ownPlaces;
  const choice = await choose(places, isa ?? forcedIsa());
  return new WasmBackend(choice, places, { threads, allThreads: options.threads !== undefined, screening });
}

export interface WasmStatus {
  /** Why the backend cannot be used; null when it can. */
  reason: string | null;
  threads: number;
  variants: readonly { isa: Isa; rejected: string | null }[];
  /** What would be chosen now. */
  chosen: Isa | null;
}

/** What `bitnet doctor` shows. Tries every variant, which takes a second or more. */
export async function wasmStatus(
  places: Pick<WasmBackendOptions, "worker" | "wasmUrl"> = ownPlaces,
): Promise<WasmStatus> {
  const threads = availableThreads();
  try {
    const variants: { isa: Isa; rejected: string | null }[] = [];
    for (const isa of wasmIsas) variants.push({ isa, rejected: (await judge(places, isa)).reason });
    const { isa } = await choose(places, forcedIsa());
    return { reason: null, threads, variants, chosen: isa };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { reason, threads, variants: [], chosen: null };
  }
}
