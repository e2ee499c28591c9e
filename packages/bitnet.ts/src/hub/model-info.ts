/**
 * What a hub says about a repository: its commit and its files with sizes and hashes. Sizes and hashes are checked for form; a file
 * whose name is not a plain relative path is left out, so that no path of a server's reaches the disk.
 */
import { BitNetError } from "@bitnet.ts/core";
import { isCommit, isHubPath } from "./reference.ts";
import { bodyPieces, type RequestOptions, request } from "./requests.ts";
import { type RetryOptions, retrying } from "./retrying.ts";
import type { HubSettings } from "./settings.ts";

export interface HubFile {
  /** Relative path. */
  path: string;
  /** Bytes. */
  size: number;
  /** Its name among the blobs of the cache. */
  hash: string;
  /** What `hash` is: SHA-256 of the bytes, or Git's name of them (SHA-1 with a header). */
  hashKind: "sha256" | "git";
}

export interface HubModel {
  /** `owner/name` of a model, `datasets/owner/name` of a dataset: how a hub's addresses name both. */
  repo: string;
  commit: string;
  files: readonly HubFile[];
}

/** A repository's listing is a few hundred kilobytes at most. */
const maxListingBytes = 32 * 2 ** 20;

/** @throws BitNetError ACCESS_DENIED, FILE_NOT_FOUND, IO_FAILED, ABORTED. */
export async function fetchModelInfo(
  repo: string,
  revision: string,
  { settings, ...retry }: { settings: HubSettings } & RetryOptions,
): Promise<HubModel> {
  const named = repo.startsWith("datasets/") ? repo : `models/${repo}`;
  const address = `${settings.endpoint}/api/${named}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const { signal } = retry;
  const options: RequestOptions = {
    settings,
    what: repo,
    headers: { accept: "application/json" },
    ...(signal ? { signal } : {}),
  };
  return retrying(
    async () => readModel(repo, await readJson(await request(address, options), options)),
    retry,
  );
}

async function readJson(response: Response, options: RequestOptions): Promise<unknown> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of bodyPieces(response, options)) {
    size += piece.length;
    if (size > maxListingBytes) return malformed(options.what, "a listing of over 32 MiB");
    pieces.push(piece);
  }
  try {
    return JSON.parse(await new Blob(pieces as BlobPart[]).text());
  } catch {
    return malformed(options.what, "no JSON");
  }
}

function readModel(repo: string, json: unknown): HubModel {
  const { sha, siblings } = record(json);
  if (typeof sha !== "string" || !isCommit(sha)) return malformed(repo, "no commit");
  if (!Array.isArray(siblings)) return malformed(repo, "no list of files");
  const files = siblings.map(readFile).filter((file) => file !== null);
  return { repo, commit: sha, files };
}

function readFile(json: unknown): HubFile | null {
  const { rfilename: path, size, blobId, lfs } = record(json);
  if (typeof path !== "string" || !isHubPath(path)) return null;
  const { sha256, size: lfsSize } = record(lfs);
  if (isSize(lfsSize) && isHash(sha256, 64)) return { path, size: lfsSize, hash: sha256, hashKind: "sha256" };
  if (isSize(size) && isHash(blobId, 40)) return { path, size, hash: blobId, hashKind: "git" };
  return null;
}

/** Tables grow with a file's size before a byte of it has come: what no disk holds is no size. */
const maxFileBytes = 2 ** 44;

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= maxFileBytes;
}

/** Whether that was read which `fetchModelInfo` once gave. */
export function isHubModel(value: unknown): value is HubModel {
  const { repo, commit, files } = record(value);
  const isFile = (each: unknown) => {
    const { path, size, hash, hashKind } = record(each);
    const digits = hashKind === "sha256" ? 64 : 40;
    const isKind = hashKind === "sha256" || hashKind === "git";
    return typeof path === "string" && isHubPath(path) && isSize(size) && isKind && isHash(hash, digits);
  };
  return (
    typeof repo === "string" &&
    typeof commit === "string" &&
    isCommit(commit) &&
    Array.isArray(files) &&
    files.every(isFile)
  );
}

function isHash(value: unknown, digits: number): value is string {
  return typeof value === "string" && value.length === digits && /^[0-9a-f]+$/.test(value);
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function malformed(repo: string, found: string): never {
  throw new BitNetError(
    "IO_FAILED",
    `${repo}: expected a hub's description of the repository, found ${found}; is HF_ENDPOINT a hub?`,
  );
}
