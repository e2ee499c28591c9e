/**
 * What differs between Node and everything else: where models can be opened from, which backends exist, how much memory
 * there is. This file is the portable side; platform.node.ts is chosen by the "node" condition.
 */
import { type Backend, BitNetError, createReferenceBackend, type FileRoot } from "@bitnet.ts/core";
import { openKept } from "./cache/open-kept.ts";
import type { BackendRequest, BitNetLoadOptions, LocationRequest } from "./types.ts";

export {
  availableMemory,
  backendReport,
  embeddedModelPath,
  measureReadBandwidth,
} from "./platform-facts.ts";

/** Options that only make sense elsewhere: none. */
export const foreignOptions: readonly (keyof BitNetLoadOptions)[] = [];

/** Opens what `BitNet.load` was given as text: an address, also relative to the page, or a model of a hub. */
export async function openLocation(location: string, request: LocationRequest): Promise<FileRoot> {
  const base = globalThis.location?.href;
  const isName = /^hf:/i.test(location);
  const address =
    isName || location === "tiny" || !URL.canParse(location, base) ? null : new URL(location, base);
  if (isName || /^https?:$/.test(address?.protocol ?? ""))
    return openKept(isName ? location : String(address), request);
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${location}: expected an http(s) URL, hf:owner/name or a Blob; paths of files need Node`,
  );
}

export async function createBackend({ name }: BackendRequest): Promise<Backend> {
  if (name === "native") throw new BitNetError("BACKEND_UNAVAILABLE", "the native backend needs Node");
  return createReferenceBackend();
}
