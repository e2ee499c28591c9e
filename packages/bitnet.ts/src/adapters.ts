/** Adapters that are loaded with a model: opened where `load` was told, and checked against the base that they were trained on. */
import {
  type Adapter,
  BitNetError,
  checkBase,
  type ModelConfig,
  openAdapter,
  type Program,
  ProgramWeights,
} from "@bitnet.ts/core";
import { openFileSource, openLocation } from "#platform";

/** By name, in the order in which they were named. On failure all are closed. @throws BitNetError as `openAdapter`. */
export async function openAdapters(
  paths: Readonly<Record<string, string>>,
  config: ModelConfig,
  signal: AbortSignal | undefined,
): Promise<Map<string, Adapter>> {
  const adapters = new Map<string, Adapter>();
  try {
    for (const [name, path] of Object.entries(paths))
      adapters.set(name, await openAdapter(await openLocation(path, signal ? { signal } : {}), config));
    return adapters;
  } catch (error) {
    for (const adapter of adapters.values()) await adapter.close();
    if (!(error instanceof BitNetError)) throw error;
    const name = Object.keys(paths)[adapters.size];
    throw new BitNetError(error.code, `adapter "${name}": ${error.message}`, {
      cause: error,
      details: error.details,
    });
  }
}

/** Reads all ternary weights once, but only when an adapter says which base it belongs to. @throws BitNetError MODEL_INVALID. */
export async function checkAdapters(
  adapters: ReadonlyMap<string, Adapter>,
  program: Program,
  model: string,
): Promise<void> {
  if ([...adapters.values()].every(({ base }) => base === null)) return;
  const weights = new ProgramWeights(program, openFileSource);
  try {
    const fingerprint = await weights.fingerprint();
    for (const adapter of adapters.values()) checkBase(adapter, fingerprint, model);
  } finally {
    await weights.close();
  }
}
