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

/** What a model has to share a backend's memory with. */
export interface RoomWanted {
  /** Bytes of all tensors. */
  weights: number;
  kvType: KvType;
  cacheTokens: number | undefined;
  /** Whether a copy of the head's table is wanted. */
  screening: boolean;
  /** Bytes that everything has to fit in, beside what the machine has. */
  addressBytes: number;
}

/** Of a context that nobody asked for; with less, the copy of the head's table gives way, and then the backend refuses. */
const usefulContext = 2048;
const leastContext = 512;
/** Activations and scratch, about. */
const scratchBytes = 128 * 2 ** 20;
/** Of cache beyond one context, where addresses are few: such a memory is reserved as a whole, on phones too. */
const spareCacheBytes = 512 * 2 ** 20;

/**
 * The context that was asked for, or as much of the usual one as the backend's addresses have room for.
 * @param wanted What was asked for.
 */
export function fitContext(config: ModelConfig, wanted: number | undefined, room: RoomWanted): number {
  const { contextLength } = config;
  if (wanted !== undefined) return contextLength;
  const perToken = kvBytesPerToken(config, room.kvType) + ropeTableBytes(config) / contextLength;
  const fitting = (screening: boolean) => {
    const bytes = Math.max(0, addressRoom(config, { ...room, screening }));
    return bytes === Number.POSITIVE_INFINITY
      ? bytes
      : Math.floor(bytes / perToken / pageTokens) * pageTokens;
  };
  const useful = Math.min(usefulContext, contextLength);
  const tokens = [fitting(room.screening), fitting(false)].find((n) => n >= useful) ?? fitting(false);
  // The backend refuses with all that it knows.
  if (tokens < Math.min(leastContext, contextLength)) return contextLength;
  return Math.min(contextLength, tokens);
}

/** What a backend's addresses leave for the cache and the tables of rotations. */
function addressRoom({ vocabSize, hiddenSize }: ModelConfig, room: RoomWanted): number {
  const screen = room.screening ? vocabSize * (hiddenSize + 76) : 0;
  return room.addressBytes - room.weights - screen - scratchBytes;
}

/**
 * Pages of the arena: four contexts unless told otherwise, less where memory is short, at least one context. Asked before anything
 * that grows with the context is made.
 */
export function choosePages(config: ModelConfig, wanted: RoomWanted): number {
  const { weights, kvType, cacheTokens, addressBytes } = wanted;
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
  const half = Math.min(room, addressRoom(config, wanted) - ropeTableBytes(config)) / 2;
  const spare = addressBytes === Number.POSITIVE_INFINITY ? addressBytes : spareCacheBytes;
  const tokens =
    cacheTokens ??
    Math.min(4 * contextLength, Math.floor(half / perToken), contextLength + Math.floor(spare / perToken));
  return Math.ceil(Math.max(tokens, contextLength) / pageTokens);
}
