/**
 * The interface that everything hangs on. A Backend is a machine; loading a Program into it gives an Executable with a KV
 * arena, which runs Steps. Programs and steps are validated once, in validate-program.ts and validate.ts, before a backend sees them.
 */
import type { Program } from "./program.ts";
import type { HeadWantKind, Step, StepResult } from "./step.ts";

export type BackendName = "native" | "webgpu" | "wasm" | "reference";
/** Of WebAssembly: how it takes dots, then how it multiplies and adds (docs/wasm.md). */
export type WasmIsa = `wasm-${"i32" | "i16" | "plain"}-${"madd" | "exact"}`;
/** Of WebGPU: whether the language has integer dot products. */
export type WgslIsa = "wgsl-dot4" | "wgsl-plain";
export type Isa =
  | "scalar"
  | "avx2"
  | "avxvnni"
  | "avx512vnni"
  | "amx"
  | "neon-dotprod"
  | "neon-i8mm"
  | WasmIsa
  | WgslIsa;
export type KvType = "f16" | "f32";

/** Tokens per KV page; a multiple of 16 (numerics). */
export const pageTokens = 32;

/** A kernel variant that was not taken, and why. */
export interface RejectedVariant {
  isa: Isa;
  reason: string;
}

export interface LoadOptions {
  kvType: KvType;
  /** Pages in the arena; memory is committed as pages are written. */
  nPages: number;
  /** The most rows a step will hold. */
  maxRows: number;
  /** Fraction done, 0…1. */
  onProgress?: (fraction: number) => void;
  /** One-line notices. */
  onNotice?: (line: string) => void;
  signal?: AbortSignal;
}

export interface MemoryReport {
  /** Bytes that only this executable uses (activations, private copies of weights, committed KV pages). */
  privateBytes: number;
  /** Bytes of mapped files, shared with the page cache. */
  mappedBytes: number;
  /** Bytes of KV cache that one token of context takes, all layers. */
  kvBytesPerToken: number;
}

/** Figures that only some kind of backend has: by the report's name, then the figure's. That backend says what they mean. */
export type OwnReports = Readonly<Record<string, Readonly<Record<string, number>>>>;

export interface Executable {
  readonly program: Program;
  /** What head requests it answers: `top` and `all` at least. Samplers do the rest themselves, with the same text. */
  readonly wants: readonly HeadWantKind[];
  /**
   * Runs one whole forward pass off the JavaScript thread. One run at a time per executable: a second one waits.
   * @throws BitNetError NUMERIC_FAILURE when NaN or infinity reaches a quantiser or the logits, BACKEND_FAILED when a
   * mapped file changed underneath, INVALID_ARGUMENT for a step that contradicts the program, DISPOSED.
   */
  run(step: Step): Promise<StepResult>;
  /** Steps that `runChain` runs at most; absent or 1: it is not offered. */
  readonly mostChained?: number;
  /**
   * Runs a step, whose every row asks for its highest logit (`top` of 1, the same ids apart and allowed each time) or for a `draw` that says what leaves
   * its window, and then up to `count` − 1 more, each with the ids of the one before as its tokens, one position on, in the same pages: what `run` would
   * answer one by one, with one wait for all. A draw's `index` grows by one each time; the token drawn counts once more among its `counts`, at first with
   * no bias, and the one that leaves once less. A step of another kind is run alone, and a chain may end early.
   * @param step Its page tables reach as far as all steps together.
   * @returns The results in order, at least one.
   * @throws BitNetError as `run`, for the first step.
   */
  runChain?(step: Step, count: number): Promise<StepResult[]>;
  /** Gives the memory of pages back to the system; their contents are lost. */
  releasePages(pages: Int32Array): void;
  memory(): MemoryReport;
  /** What nothing above depends on; {} for most. Options of a backend's own are given where it is created. */
  reports(): OwnReports;
  /** Waits for a run in flight, then frees everything at once. Idempotent. */
  dispose(): Promise<void>;
}

export interface Backend {
  readonly name: BackendName;
  readonly isa: Isa;
  /** Threads that a run uses, the pool's own included. */
  readonly threads: number;
  /** Variants tried before the chosen one, best first. */
  readonly rejected: readonly RejectedVariant[];
  /** Bytes of memory that everything it loads has to fit in, where that is less than the machine's. */
  readonly addressBytes?: number;
  /** Whether it takes sources that are read while a program is loaded; others want them in memory or in files. */
  readonly streams?: boolean;
  /** Names of the operations that it runs; fused ones that it lacks are run as their definitions (expand.ts). */
  readonly operations: readonly string[];
  load(program: Program, options: LoadOptions): Promise<Executable>;
  /** Frees what it keeps from one program to the next: threads, a device. All its executables are disposed by now. Idempotent. */
  dispose?(): Promise<void>;
}
