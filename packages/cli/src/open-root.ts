/** Opens what a user named as a model, without reading it: an http(s) URL, a file: URL, a path, or a model of a hub. */
import { fileURLToPath } from "node:url";
import { BitNetError, type FileRoot, urlRoot } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { localSource } from "./pull-model.ts";
import type { Session } from "./session.ts";

/** @throws BitNetError FILE_NOT_FOUND, IO_FAILED, INVALID_ARGUMENT, ACCESS_DENIED or ABORTED. */
export async function openRoot(named: string, session: Session): Promise<FileRoot> {
  const source = await localSource(named, session);
  if (/^https?:\/\//i.test(source)) return urlRoot(source, { signal: session.signal });
  return openPath(source.startsWith("file://") ? pathOfUrl(source) : source);
}

function pathOfUrl(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new BitNetError("INVALID_ARGUMENT", `${url}: expected the URL of a local file`, { cause });
  }
}
