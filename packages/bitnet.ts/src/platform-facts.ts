/** What can be said of a platform other than Node without loading the engine, so that pages may ask. */
import { BitNetError } from "@bitnet.ts/core/base";

/** @throws BitNetError FILE_NOT_FOUND. */
export function embeddedModelPath(): string {
  throw new BitNetError("FILE_NOT_FOUND", "the embedded model is a file; files need Node");
}

/** Memory that a model may take in bytes; null where the platform does not say. */
export function availableMemory(): number | null {
  return null;
}

/** Bytes per second of a bare read; null without native code. */
export async function measureReadBandwidth(_threads?: number): Promise<number | null> {
  return null;
}
