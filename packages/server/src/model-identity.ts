/**
 * What a model that was loaded is: answers outlive the server where others keep them, and count for servers that have loaded the same. A
 * file or folder is known by its place, sizes and times; a model of a hub by the commit, wherever its cache lies.
 */
import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import type { BitNet, BitNetLoadOptions } from "bitnet.ts";
import { hubEndpoint, isHubLocation, pull } from "bitnet.ts/hub";

/** A source, found. */
export interface FoundModel {
  /** Where its files lie; the source itself for what is no file here. */
  readonly path: string;
  /** Tells its bytes from all others; null where nothing does. */
  readonly contents: string | null;
}

/**
 * Brings a model of a hub, as loading it would; what is a file or a folder is looked at.
 * @throws whatever bringing it ends in.
 */
export async function findModel(source: string, options: BitNetLoadOptions): Promise<FoundModel> {
  const endpoint = options.hub?.endpoint ?? hubEndpoint();
  if (!isHubLocation(source, endpoint)) return { path: source, contents: await describeContents(source) };
  const { signal, hub, onNotice, onDownload } = options;
  const { repo, commit, path, files } = await pull(source, {
    ...(signal === undefined ? {} : { signal }),
    ...(hub?.endpoint === undefined ? {} : { settings: { endpoint } }),
    ...(hub?.token === undefined ? {} : { token: hub.token }),
    ...(onNotice === undefined ? {} : { onNotice }),
    ...(onDownload === undefined ? {} : { onProgress: onDownload }),
  });
  const listed = files.map((file) => [file.path, file.size]);
  return { path, contents: JSON.stringify([endpoint, repo, commit, listed]) };
}

/** Null for what is neither a file nor a folder here. */
async function describeContents(path: string): Promise<string | null> {
  const found = await stat(path).catch(() => null);
  if (found?.isFile() === true) return JSON.stringify([path, found.size, found.mtimeMs]);
  if (found?.isDirectory() !== true) return null;
  // One that is just being removed has none; loading it says so.
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = await Promise.all(
    entries.map(async (entry) => {
      const file = join(entry.parentPath, entry.name);
      const each = await stat(file).catch(() => null);
      return each?.isFile() === true ? [[relative(path, file), each.size, each.mtimeMs]] : [];
    }),
  );
  return JSON.stringify([path, files.flat().toSorted()]);
}

/** All that decides about the answers of a model, files of its adapters included. */
export async function identityOf(
  { contents }: FoundModel,
  { activations, screening, i2sLayout, adapters = {}, adapter }: BitNetLoadOptions,
  { info: { kvType, contextLength, backend } }: BitNet,
): Promise<string> {
  const files = await Promise.all(
    Object.entries(adapters).map(async ([name, path]) => [name, path, await describeContents(path)]),
  );
  // What nothing tells from others is the same within this load only.
  const isKnown = contents !== null && files.every(([, , each]) => each !== null);
  return JSON.stringify([
    ...[contents, isKnown ? null : randomUUID(), kvType, contextLength, backend],
    ...[activations, screening, i2sLayout, adapter, files],
  ]);
}

/** Bytes and date of a model's file; nulls for what is no file. */
export async function describeFile(source: string): Promise<{ bytes: number; modified: Date }> {
  try {
    const { size, mtime } = await stat(source);
    return { bytes: size, modified: mtime };
  } catch {
    return { bytes: 0, modified: new Date(0) };
  }
}

/** SHA-256 of a file, or of its name where it cannot be read whole. */
export async function digestOf(source: string): Promise<string> {
  const hash = createHash("sha256");
  const { bytes } = await describeFile(source);
  // It may be removed meanwhile.
  const content = bytes > 0 && bytes <= 64 * 2 ** 20 ? await readFile(source).catch(() => null) : null;
  hash.update(content ?? `${source}\n${bytes}`);
  return hash.digest("hex");
}
