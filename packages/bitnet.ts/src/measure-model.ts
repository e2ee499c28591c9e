/** What a model will take in memory, from the headers of its files: nothing of its weights is read. */
import { describeModel, type I2sLayout, type KvType, openModelFiles } from "@bitnet.ts/core";
import { openLocation } from "#platform";
import { kvBytesPerToken, ropeTableBytes, weightBytes } from "./memory-bytes.ts";

export interface ModelMemory {
  /** Bytes of all tensors. */
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
  signal?: AbortSignal;
}

/** Rows of a step; the same as when models are loaded. */
const maxRows = 512;

/**
 * Measures a model without loading it.
 * @param source As for `BitNet.load`; a model of a hub is brought here first.
 * @throws BitNetError as `BitNet.load` for files that are no model.
 */
export async function measureModel(source: string, options: MeasureOptions = {}): Promise<ModelMemory> {
  const { kvType = "f16", screening = true, i2sLayout, signal } = options;
  const files = await openModelFiles(await openLocation(source, signal ? { signal } : {}), {
    ...(i2sLayout === undefined ? {} : { i2sLayout }),
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const { config, tensors } = describeModel(files, source);
    const { hiddenSize, ffnSize, vocabSize, contextLength } = config;
    return {
      weightBytes: weightBytes(tensors),
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
