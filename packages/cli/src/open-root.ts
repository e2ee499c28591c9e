/** Opens what a user named as a model, without reading it: an http(s) URL, a file: URL or a path. */
import { fileURLToPath } from "node:url";
import { BitNetError, type FileRoot, urlRoot } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";

/** @throws BitNetError FILE_NOT_FOUND, IO_FAILED, INVALID_ARGUMENT or ABORTED. */
export async function openRoot(source: string, signal: AbortSignal): Promise<FileRoot> {
  if (/^https?:\/\//i.test(source)) return urlRoot(source, { signal });
  return openPath(source.startsWith("file://") ? pathOfUrl(source) : source);
}

function pathOfUrl(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new BitNetError("INVALID_ARGUMENT", `${url}: expected the URL of a local file`, { cause });
  }
}
