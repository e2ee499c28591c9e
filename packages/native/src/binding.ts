/**
 * What the compiled addon exports, and the one of this process. Knows neither where it is found nor what is done with it.
 */
import type { EngineFailure, RejectedVariant } from "@bitnet.ts/core";
import { type FoundBinding, findBinding } from "./find-binding.ts";

/** Must equal `encodingVersion` in node/addon.cc: a binary of other sources would misread programs. */
const encodingVersion = 7;

/** An executable of the addon; opaque. */
export interface NativeHandle {
  readonly nativeHandle: unique symbol;
}

/** One instruction set of this architecture that the binary knows of. */
export interface NativeVariant {
  isa: string;
  /** Why it is passed over, or null when it works. */
  rejected: string | null;
  /** Steps that its kernels have completed in this process. */
  stepsRun: number;
}

/** What node/addon.cc exports. Functions throw errors whose `code` is a BitNetErrorCode. */
export interface NativeBinding {
  readonly encodingVersion: number;
  /** `corrupted` gives a variant a wrong kernel before its check: for tests. */
  selectKernels(forced?: string, corrupted?: string): { isa: string; rejected: RejectedVariant[] };
  variants(): NativeVariant[];
  reserveThreads(threads: number): number;
  allocations(): [count: number, bytes: number];
  create(
    isa: string,
    words: Int32Array,
    scales: readonly Float32Array[],
    paths: readonly (string | null)[],
    limits: Int32Array,
  ): NativeHandle;
  fillSource(handle: NativeHandle, source: number, offset: number, bytes: Uint8Array): void;
  shareSource(handle: NativeHandle, source: number, bytes: Uint8Array): void;
  finish(handle: NativeHandle): Promise<EngineFailure | undefined>;
  run(handle: NativeHandle, words: Int32Array): Promise<ArrayBuffer | EngineFailure>;
  releasePages(handle: NativeHandle, pages: Int32Array): void;
  /** Bytes per second of a bare read, or 0 without memory for it. */
  readBandwidth(threads: number, bytes: number, repeats: number): Promise<number>;
  /** The words of EngineNumbers. */
  memory(handle: NativeHandle): ArrayBuffer;
  dispose(handle: NativeHandle): void;
}

let loaded: FoundBinding<NativeBinding> | undefined;

/** The addon, or why there is none. Looked for once. */
export function loadBinding(): FoundBinding<NativeBinding> {
  loaded ??= findBinding<NativeBinding>(encodingVersion);
  return loaded;
}
