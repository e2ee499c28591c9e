/** Model roots beyond the local disk: http(s) addresses, and files that a browser hands over. */
import { blobSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";
import { type FileRoot, isPlainPath } from "./file-root.ts";
import { openUrl, type UrlOptions } from "./url-source.ts";

/**
 * A model by URL: an address that ends in `.gguf` is that file, any other is a folder whose files are asked for by name.
 * A query (such as a signature) is kept for every file.
 * @throws BitNetError INVALID_ARGUMENT (not http or https), FILE_NOT_FOUND, IO_FAILED, ABORTED.
 */
export async function urlRoot(address: string | URL, options: UrlOptions = {}): Promise<FileRoot> {
  if (!URL.canParse(String(address))) {
    throw new BitNetError("INVALID_ARGUMENT", `${address}: expected an http or https URL`);
  }
  const url = new URL(address);
  const open = async (fileName: string) =>
    isPlainPath(fileName) ? openUrl(beside(url, fileName), options) : null;
  if (!/\.(gguf|safetensors)$/i.test(url.pathname)) {
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    return { kind: "folder", name: url.origin + url.pathname, open };
  }
  const source = await openUrl(url, options);
  if (source === null) {
    throw new BitNetError("FILE_NOT_FOUND", `${url.origin}${url.pathname}: no such file on the server`);
  }
  return { kind: "file", source, openSibling: open };
}

/** A GGUF file that is a Blob or File. */
export function blobRoot(blob: Blob, name = "blob"): FileRoot {
  return { kind: "file", source: blobSource(blob, name) };
}

function beside(url: URL, fileName: string): URL {
  const sibling = new URL(url);
  sibling.pathname = url.pathname.replace(/[^/]*$/, fileName.split("/").map(encodeURIComponent).join("/"));
  return sibling;
}
