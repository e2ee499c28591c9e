/** What a model will take in memory, from the headers of its files: nothing of its weights is read, unless adapters are to be told apart. */
import {
  type Adapter,
  bindModel,
  describeModel,
  type I2sLayout,
  type KvType,
  openModelFiles,
} from "@bitnet.ts/core";
import { openLocation } from "#platform";
import { checkAdapters, openAdapters } from "./adapters.ts";
import { kvBytesPerToken, ropeTableBytes, weightBytes } from "./memory-bytes.ts";

export interface ModelMemory {
  /** Bytes of all tensors, those of adapters included. */
  readonly weightBytes: number;
  /** Bytes of the copy of the head that screening makes; 0 without screening. */
  readonly screenBytes: number;
  /** Bytes of the activations of one step, about. */
  readonly activationBytes: number;
  readonly kvBytesPerToken: number;
  /** Bytes of tables that grow with the context. */
  readonly tableBytesPerToken: number;
  /** Tokens of context that the model was trained with. */
  readonly trainedContextLength: number;
}

interface MeasureOptions {
  kvType?: KvType;
  screening?: boolean;
  i2sLayout?: I2sLayout;
  /** As for `BitNet.load`. */
  adapters?: Readonly<Record<string, string>>;
  /** Whether an adapter that names the base it was trained on is compared with the weights, all of which are read for it. */
  checksBase?: boolean;
  signal?: AbortSignal;
}

/** Rows of a step; the same as when models are loaded. */
const maxRows = 512;

/**
 * Measures a model without loading it.
 * @param source As for `BitNet.load`; a model of a hub is brought here first.
 * @throws BitNetError as `BitNet.load` for files that are no model, MODEL_INVALID for an adapter that does not fit it.
 */
export async function measureModel(source: string, options: MeasureOptions = {}): Promise<ModelMemory> {
  const { kvType = "f16", screening = true, i2sLayout, adapters: paths = {}, signal } = options;
  const files = await openModelFiles(await openLocation(source, signal ? { signal } : {}), {
    ...(i2sLayout === undefined ? {} : { i2sLayout }),
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const model = describeModel(files, source);
    const { config, tensors } = model;
    const adapters = await openAdapters(paths, config, signal);
    try {
      if (options.checksBase === true && [...adapters.values()].some(({ base }) => base !== null))
        await checkAdapters(adapters, await bindModel(model, config, signal ? { signal } : {}), source);
    } finally {
      for (const adapter of adapters.values()) await adapter.close();
    }
    const { hiddenSize, ffnSize, vocabSize, contextLength } = config;
    return {
      weightBytes: weightBytes(tensors) + adapterBytes(adapters),
      screenBytes: screening ? vocabSize * hiddenSize : 0,
      activationBytes: maxRows * (6 * hiddenSize + 3 * ffnSize) * Float32Array.BYTES_PER_ELEMENT,
      kvBytesPerToken: kvBytesPerToken(config, kvType),
      tableBytesPerToken: ropeTableBytes(config) / contextLength,
      trainedContextLength: contextLength,
    };
  } finally {
    await files.close();
  }
}

function adapterBytes(adapters: ReadonlyMap<string, Adapter>): number {
  let bytes = 0;
  for (const { projections } of adapters.values())
    for (const { a, b } of projections.values()) bytes += a.byteLength + b.byteLength;
  return bytes;
}
