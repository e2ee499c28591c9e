/** The public types of bitnet.ts. */
import type {
  BackendName,
  DenseType,
  I2sLayout,
  Isa,
  KvType,
  MemoryReport,
  PackingId,
  RejectedVariant,
} from "@bitnet.ts/core";

export interface BitNetLoadOptions {
  /** Compute threads; default: the cores available to this process. */
  threads?: number;
  /** Tokens of context, at most (and by default) what the model was trained with. */
  contextLength?: number;
  /** Force a backend; default: `BITNET_BACKEND`, else native where a binary fits, else reference. */
  backend?: BackendName;
  /** Force an instruction set of the native backend; default: `BITNET_ISA`, else the best that proves itself. */
  isa?: Isa;
  /** Type of the KV cache; default f16. */
  kvType?: KvType;
  /** Tokens of KV cache for all generations together; default: four contexts, less where memory is short. */
  cacheTokens?: number;
  /** How I2_S tensors are laid out; published files are "128/32" (default). */
  i2sLayout?: I2sLayout;
  /** Loading progress, 0…1. */
  onProgress?: (fraction: number) => void;
  /** One-line notices, such as a backend that could not be used; default: console.warn. */
  onNotice?: (line: string) => void;
  signal?: AbortSignal;
}

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
  readonly tensorTypes: readonly (DenseType | PackingId)[];
  readonly backend: BackendName;
  readonly isa: Isa;
  readonly threads: number;
  readonly kvType: KvType;
  /** Kernel variants that were not taken, with the reason. */
  readonly rejected: readonly RejectedVariant[];
  readonly loadMs: number;
}

/** Pages and rows of the KV cache. */
export interface ModelStats extends MemoryReport {
  pagesInUse: number;
  pagesCached: number;
  pagesFree: number;
}
