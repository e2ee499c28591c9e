/**
 * Finds and loads the compiled addon: the platform package when one is installed, otherwise what `build/build.ts` made here.
 * Knows what the addon exports, not what is done with it.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { RejectedVariant } from "@bitnet.ts/core";

/** Must equal `encodingVersion` in node/addon.cc: a binary of other sources would misread programs. */
const encodingVersion = 5;

/** An executable of the addon; opaque. */
export interface NativeHandle {
  readonly nativeHandle: unique symbol;
}

export interface NativeFailure {
  code: string;
  message: string;
  /** Index of the operation, and the row; −1 when the failure has no place. */
  op: number;
  row: number;
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
    reals: Float64Array,
    scales: readonly Float32Array[],
    paths: readonly (string | null)[],
    sizes: Float64Array,
    limits: Int32Array,
  ): NativeHandle;
  fillSource(handle: NativeHandle, source: number, offset: number, bytes: Uint8Array): void;
  shareSource(handle: NativeHandle, source: number, bytes: Uint8Array): void;
  finish(handle: NativeHandle): Promise<NativeFailure | undefined>;
  run(handle: NativeHandle, words: Int32Array): Promise<ArrayBuffer | NativeFailure>;
  releasePages(handle: NativeHandle, pages: Int32Array): void;
  /** Bytes per second of a bare read, or 0 without memory for it. */
  readBandwidth(threads: number, bytes: number, repeats: number): Promise<number>;
  memory(
    handle: NativeHandle,
  ): [
    privateBytes: number,
    mappedBytes: number,
    kvBytesPerToken: number,
    screenBytes: number,
    headsScreened: number,
    headsFull: number,
    headCandidates: number,
  ];
  dispose(handle: NativeHandle): void;
}

type LoadedBinding = { binding: NativeBinding; path: string } | { binding: null; reason: string };

let loaded: LoadedBinding | undefined;

/** The addon, or why there is none. Looked for once. */
export function loadBinding(): LoadedBinding {
  loaded ??= findBinding();
  return loaded;
}

function findBinding(): LoadedBinding {
  const require = createRequire(import.meta.url);
  const target = `${process.platform}-${process.arch}`;
  const packaged = resolvePackage(require, `@bitnet.ts/native-${target}`);
  const built = fileURLToPath(new URL(`../build/${target}/bitnet.node`, import.meta.url));
  const path = packaged ?? (existsSync(built) ? built : undefined);
  if (path === undefined) {
    return {
      binding: null,
      reason: `there is no binary for ${target}: neither the package @bitnet.ts/native-${target} nor ${built}; build it with "npm run build" and a C++20 compiler`,
    };
  }
  try {
    const binding = require(path) as NativeBinding;
    if (binding.encodingVersion === encodingVersion) return { binding, path };
    return {
      binding: null,
      reason: `${path} was built from other sources; build it again with "npm run build"`,
    };
  } catch (error) {
    return { binding: null, reason: `${path} cannot be loaded: ${(error as Error).message}` };
  }
}

function resolvePackage(require: NodeJS.Require, name: string): string | undefined {
  try {
    return require.resolve(name);
  } catch {
    return undefined;
  }
}
