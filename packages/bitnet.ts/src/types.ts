/** The public types of bitnet.ts. */
import type {
  BackendName,
  I2sLayout,
  Isa,
  KvType,
  MemoryReport,
  Pooling,
  RejectedVariant,
  SchedulerStats,
  ScreeningReport,
} from "@bitnet.ts/core";

export interface BitNetLoadOptions {
  /** Compute threads; default: the cores available to this process. */
  threads?: number;
  /** Tokens of context, at most what the model was trained with; default: as much, but not over 32768, nor more than WebAssembly has room for. */
  contextLength?: number;
  /** Force a backend; default: `BITNET_BACKEND`, else native where a binary fits, else webgpu on a GPU, else wasm, else reference. */
  backend?: BackendName;
  /** Force an instruction set of the native backend, or a variant of webgpu or wasm; default: `BITNET_ISA`, else the best that proves itself. */
  isa?: Isa;
  /**
   * How activations are rounded. "int8" (default): with one scale a token, or one for 128 columns where the files tell that activations were 16 bit
   * in training. Not all files can tell, TQ2_0 ones of the Llama shape for instance: "int8-token" and "int8-groups" say which, whatever the files are.
   * "f32" leaves activations as they are, to see what rounding them costs: far slower, and another function than the model was made for
   * unless its activations were 16 bit in training. Only the reference backend does it.
   */
  activations?: "int8" | "int8-token" | "int8-groups" | "f32";
  /** Type of the KV cache; default f16. */
  kvType?: KvType;
  /** Tokens of KV cache for all generations together; default: four contexts, less where memory is short and in WebAssembly. */
  cacheTokens?: number;
  /**
   * Keep a copy of the head's table in int8, in order to read half as much per token: exact logits are computed only where they matter,
   * and texts are the same. Costs one byte per element of the table in memory, half of what the table takes. Default true; the
   * reference backend never does it.
   */
  screening?: boolean;
  /**
   * Adapters (LoRA) by name, each the path of a PEFT folder or of a GGUF adapter; a generation chooses one by `adapter`. Without any,
   * nothing is computed for them.
   */
  adapters?: Readonly<Record<string, string>>;
  /** The adapter of generations that do not say; default: none. */
  adapter?: string;
  /** How I2_S tensors are laid out; published files are "128/32" (default). */
  i2sLayout?: I2sLayout;
  /**
   * Browsers only. Starts the worker that runs the model, where a bundler does not find workers by itself: it runs the script
   * `bitnet.ts/worker`. False: the model runs on this thread, as it does anyway in a worker of your own.
   */
  worker?: (() => EngineWorker) | false;
  /** Browsers only: address of a copy of this package's folder worker/, where the other files of it are not beside the worker's script. */
  wasmUrl?: string;
  /** Browsers only: keep what is downloaded in the browser's own file system, and take it from there the next time. Default true. */
  cache?: boolean;
  /** The hub of `hf:owner/name`, instead of what the environment (in browsers: huggingface.co) says. */
  hub?: HubPlace;
  /** What a download has brought so far. */
  onDownload?: (progress: DownloadProgress) => void;
  /** Loading progress, 0…1. */
  onProgress?: (fraction: number) => void;
  /** One-line notices, such as a backend that could not be used; default: console.warn. */
  onNotice?: (line: string) => void;
  signal?: AbortSignal;
}

/** A worker of browsers; the part of it that is used. */
export interface EngineWorker {
  postMessage(message: unknown): void;
  terminate(): void;
}

export interface HubPlace {
  /** Such as "https://huggingface.co". */
  endpoint?: string;
  /** Sent to this hub alone. */
  token?: string;
}

export interface DownloadProgress {
  phase: DownloadPhase;
  /** The file that is being brought. */
  file: string;
  doneBytes: number;
  totalBytes: number;
  /** Over the last seconds; null until it is known. */
  bytesPerSecond: number | null;
  secondsLeft: number | null;
}

export type DownloadPhase = "waiting" | "downloading" | "verifying";

/** Facts about a loaded model. */
export interface ModelInfo {
  readonly name: string;
  /** What `load` was given, as text. */
  readonly source: string;
  readonly architecture: string;
  readonly nLayers: number;
  readonly hiddenSize: number;
  readonly ffnSize: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  /** Tokens of context that the model was trained with. */
  readonly trainedContextLength: number;
  /** Tokens of context in use. */
  readonly contextLength: number;
  readonly nParameters: number;
  /** Types of the tensors in the file, most bytes first. */
  readonly tensorTypes: readonly string[];
  readonly backend: BackendName;
  readonly isa: Isa;
  readonly threads: number;
  readonly kvType: KvType;
  /** Names of the loaded adapters. */
  readonly adapters: readonly string[];
  /** False for a model without a head, which only embeds texts. */
  readonly canGenerate: boolean;
  /** How its texts are embedded, and dimensions of an embedding; null where its files ask for something unknown. */
  readonly pooling: Pooling | null;
  readonly embeddingSize: number | null;
  /** Kernel variants that were not taken, with the reason. */
  readonly rejected: readonly RejectedVariant[];
  /** Backends that would have come first in the automatic choice, with the reason why they do not serve. */
  readonly passedOver: readonly PassedOver[];
  /** Bytes of weights that decoding one token reads: with screening, once the head's copy serves, those of the copy and its candidates. */
  readonly bytesPerToken: number;
  readonly loadMs: number;
}

/** A backend that the automatic choice has passed over. */
export interface PassedOver {
  backend: BackendName;
  reason: string;
}

/** Memory, pages of the KV cache, and the work done so far; `screening`: how the logits of tokens were found, where the backend can screen. */
export type ModelStats = MemoryReport & SchedulerStats & { screening?: ScreeningReport };

/** What `BitNet.load` asks of the platform. */
export interface BackendRequest {
  name?: BackendName;
  isa?: Isa;
  threads?: number;
  wasmUrl?: string;
  activations?: "int8" | "f32";
  screening?: boolean;
  onNotice: (line: string) => void;
}

/** What compiling the forms of answers asks of the platform. */
export interface GrammarRequest {
  /** Of the logits. */
  vocabSize: number;
  wasmUrl: string | undefined;
}

/** What opening a model's place asks of the platform. */
export type LocationRequest = Pick<BitNetLoadOptions, "signal" | "cache" | "hub" | "onNotice" | "onDownload">;

/** Browsers only: where the worker and its files are, as for `load`. */
export type ReportOptions = Pick<BitNetLoadOptions, "worker" | "wasmUrl">;

/** One backend as `bitnet doctor` reports it. */
export interface BackendReport {
  name: BackendName;
  isAvailable: boolean;
  /** Path of the binary, or why there is none. */
  detail: string;
  threads: number;
  /** Kernel variants, best first: what became of each. */
  variants: readonly {
    isa: string;
    verdict: "chosen" | "usable" | "rejected";
    reason: string;
  }[];
}
