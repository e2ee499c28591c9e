/** Opens what a user named as a model, without reading it: an http(s) URL, a file: URL or a path. */
import { fileURLToPath } from "node:url";
import { type FileRoot, urlRoot } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";

/** @throws BitNetError FILE_NOT_FOUND, IO_FAILED, INVALID_ARGUMENT or ABORTED. */
export function openRoot(source: string, signal: AbortSignal): Promise<FileRoot> {
  if (/^https?:\/\//i.test(source)) return urlRoot(source, { signal });
  return openPath(source.startsWith("file://") ? fileURLToPath(source) : source);
}
