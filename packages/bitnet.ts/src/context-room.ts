/** How long a context is made, and how many pages of it, by the memory there is. */
import { BitNetError, type KvType, type ModelConfig, pageTokens } from "@bitnet.ts/core";
import { availableMemory } from "#platform";
import { tellApart } from "./byte-units.ts";
import { kvBytesPerToken, ropeTableBytes } from "./memory-bytes.ts";

/** The longest context that is made without being asked for. */
const defaultContext = 32_768;

/** @throws BitNetError CONTEXT_EXCEEDED for one beyond what the model was trained with. */
export function chooseContext({ contextLength }: ModelConfig, wanted: number | undefined): number {
  if (wanted === undefined) return Math.min(contextLength, defaultContext);
  if (wanted <= contextLength) return wanted;
  throw new BitNetError(
    "CONTEXT_EXCEEDED",
    `a context of ${wanted} tokens was asked for, but the model was trained with ${contextLength}`,
    { details: { wanted, trained: contextLength } },
  );
}

/**
 * Pages of the arena: four contexts unless told otherwise, less where memory is short, at least one context. Asked before anything
 * that grows with the context is made.
 */
export function choosePages(
  config: ModelConfig,
  weights: number,
  kvType: KvType,
  { cacheTokens, addressBytes }: { cacheTokens: number | undefined; addressBytes: number },
): number {
  const { contextLength } = config;
  const memory = availableMemory();
  const perToken = kvBytesPerToken(config, kvType);
  const beside = weights + ropeTableBytes(config);
  const room = memory === null ? Number.POSITIVE_INFINITY : memory - beside;
  const needed = Math.max(cacheTokens ?? 0, contextLength) * perToken;
  if (needed > room) {
    const [neededText, roomText] = tellApart(needed, Math.max(0, room));
    throw new BitNetError(
      "OUT_OF_MEMORY",
      `a context of ${contextLength} tokens needs ${neededText} of KV cache, but beside the weights only ` +
        `${roomText} of memory are left; ask for a shorter context`,
      { details: { needed, room } },
    );
  }
  // What does not fit a backend's addresses it refuses itself, when it knows all that it needs.
  const half = Math.min(room, addressBytes - beside) / 2;
  const tokens = cacheTokens ?? Math.min(4 * contextLength, Math.floor(half / perToken));
  return Math.ceil(Math.max(tokens, contextLength) / pageTokens);
}
