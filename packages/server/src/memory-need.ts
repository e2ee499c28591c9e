/** What loading a model takes, and how much KV cache a budget leaves it. */
import { type BitNetLoadOptions, measureModel } from "bitnet.ts";

export interface MemoryNeed {
  /** Bytes that the model takes at most once it is loaded. */
  readonly bytes: number;
  /** What to load it with so that it takes no more. */
  readonly options: BitNetLoadOptions;
  /** Why it does not fit into so many bytes. */
  explain(maxBytes: number): string;
}

/** As the library chooses them without a budget: the longest context, and contexts in the cache. */
const defaultContext = 32_768;
const contextsInCache = 4;

/** @param maxBytes Of all models together; null: nothing limits it, and nothing needs to be measured. */
export async function needOf(
  source: string,
  options: BitNetLoadOptions,
  maxBytes: number | null,
): Promise<MemoryNeed> {
  if (maxBytes === null) return { bytes: 0, options: {}, explain: () => "" };
  const { kvType, screening, i2sLayout, adapters } = options;
  const model = await measureModel(source, {
    ...(kvType === undefined ? {} : { kvType }),
    ...(screening === undefined ? {} : { screening }),
    ...(i2sLayout === undefined ? {} : { i2sLayout }),
    ...(adapters === undefined ? {} : { adapters }),
  });
  const context = options.contextLength ?? Math.min(model.trainedContextLength, defaultContext);
  const fixed =
    model.weightBytes + model.screenBytes + model.activationBytes + context * model.tableBytesPerToken;
  // Half of what is left, so that another model may find room beside it; never less than one context.
  const room = Math.floor(Math.max(0, maxBytes - fixed) / 2 / model.kvBytesPerToken);
  const cacheTokens = options.cacheTokens ?? Math.max(context, Math.min(contextsInCache * context, room));
  return {
    bytes: fixed + cacheTokens * model.kvBytesPerToken,
    options: { cacheTokens },
    explain: (most) =>
      `the model needs ${mebibytes(model.weightBytes)} for weights${adapters === undefined ? "" : " and adapters"}, ${mebibytes(model.screenBytes + model.activationBytes)} for work space and ` +
      `${mebibytes(cacheTokens * model.kvBytesPerToken)} for ${cacheTokens} tokens of KV cache, but all models together may take ${mebibytes(most)}`,
  };
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
