/**
 * The cache on disk, in the layout that Hugging Face's tools share: `models--owner--name/` (or `datasets--…`) with `blobs/HASH`, `snapshots/COMMIT/path`
 * (links to blobs, or copies where a system has no links) and `refs/REVISION` (a commit). Source: "Understand caching" in the
 * documentation of huggingface_hub.
 */
import { randomUUID } from "node:crypto";
import {
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { isLocked } from "@bitnet.ts/core/node";
import type { HubFile, HubModel } from "./model-info.ts";
import { isCommit, isHubPath, isRepoName, isRevision } from "./reference.ts";

export interface CachedFile {
  path: string;
  /** Bytes. */
  size: number;
}

export interface CachedRevision {
  commit: string;
  /** Branches and tags that stood for it when they were last asked for. */
  refs: readonly string[];
  files: readonly CachedFile[];
}

export interface CachedModel {
  repo: string;
  folder: string;
  revisions: readonly CachedRevision[];
  /** Bytes on disk, unfinished downloads included. */
  bytes: number;
  unfinishedBytes: number;
}

export function repoFolder(cacheDir: string, repo: string): string {
  const [, kind = "models", name = ""] = /^(?:(datasets)\/)?(.*)$/s.exec(repo) ?? [];
  if (!isRepoName(name))
    throw new BitNetError("INVALID_ARGUMENT", `${JSON.stringify(repo)}: expected owner/name`);
  return join(cacheDir, `${kind}--${name.replace("/", "--")}`);
}

export function snapshotFolder(cacheDir: string, repo: string, commit: string): string {
  return join(repoFolder(cacheDir, repo), "snapshots", commit);
}

/** Held by who downloads the file of this hash. @param workFolder Where unfinished files lie. */
export function lockPath(workFolder: string, hash: string): string {
  return join(workFolder, `${hash}.bitnet-lock`);
}

/** Makes the blob of `hash` appear as `path` in the snapshot of `commit`. */
export async function addToSnapshot(
  cacheDir: string,
  { repo, commit }: { repo: string; commit: string },
  { path, hash }: HubFile,
): Promise<string> {
  const blob = join(repoFolder(cacheDir, repo), "blobs", hash);
  const pointer = join(snapshotFolder(cacheDir, repo, commit), ...path.split("/"));
  try {
    const current = await stat(pointer).catch(() => null);
    if (current?.isFile() && current.size === (await stat(blob)).size) return pointer;
    await mkdir(dirname(pointer), { recursive: true });
    await putInPlace(pointer, async (made) => {
      await symlink(relative(dirname(pointer), blob), made).catch(
        () => copyFile(blob, made), // Windows without the right to make links, and disks that know none
      );
    });
    return pointer;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "it has just been removed from the cache" : (code ?? message);
    throw new BitNetError("IO_FAILED", `${pointer}: cannot be made (${reason}); try again`, { cause });
  }
}

/** Under a name of its own first: others may be at the same file. */
async function putInPlace(path: string, make: (made: string) => Promise<void>): Promise<void> {
  const made = `${path}.${randomUUID()}.new`;
  try {
    await make(made);
    await rename(made, path);
  } catch (error) {
    await rm(made, { force: true });
    throw error;
  }
}

/** Notes which commit a branch or tag stands for. */
export async function writeRef(
  cacheDir: string,
  repo: string,
  revision: string,
  commit: string,
): Promise<void> {
  if (revision === commit) return;
  const path = join(repoFolder(cacheDir, repo), "refs", ...revision.split("/"));
  await mkdir(dirname(path), { recursive: true });
  await putInPlace(path, (made) => writeFile(made, commit));
}

/** What the cache holds of a revision, as if a hub had said it; null when nothing. */
export async function cachedModel(
  cacheDir: string,
  repo: string,
  revision: string,
): Promise<HubModel | null> {
  const ref = join(repoFolder(cacheDir, repo), "refs", ...revision.split("/"));
  const commit = isCommit(revision) ? revision : (await readFile(ref, "utf8").catch(() => "")).trim();
  if (!isCommit(commit)) return null;
  const found = await filesUnder(snapshotFolder(cacheDir, repo, commit));
  if (found.length === 0) return null;
  return { repo, commit, files: found.map((file) => ({ ...file, hash: "", hashKind: "sha256" as const })) };
}

/** Everything in the cache that is a model, by name. */
export async function listCache(cacheDir: string): Promise<CachedModel[]> {
  const names = await readdir(cacheDir).catch((): string[] => []);
  const models: CachedModel[] = [];
  for (const name of names.sort()) {
    const [, owner, model] = /^models--(.+?)--(.+)$/.exec(name) ?? [];
    const repo = `${owner}/${model}`;
    if (owner !== undefined && isRepoName(repo)) models.push(await describeRepo(join(cacheDir, name), repo));
  }
  return models;
}

async function describeRepo(folder: string, repo: string): Promise<CachedModel> {
  const refs = await refsOf(folder);
  const revisions: CachedRevision[] = [];
  for (const commit of (await readdir(join(folder, "snapshots")).catch((): string[] => []))
    .filter(isCommit)
    .sort()) {
    const files = await filesUnder(join(folder, "snapshots", commit));
    revisions.push({
      commit,
      refs: refs.filter((ref) => ref.commit === commit).map((ref) => ref.name),
      files,
    });
  }
  const { bytes, unfinishedBytes } = await bytesUnder(folder);
  return { repo, folder, revisions, bytes, unfinishedBytes };
}

async function refsOf(folder: string): Promise<{ name: string; commit: string }[]> {
  const refs: { name: string; commit: string }[] = [];
  const root = join(folder, "refs");
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const name = relative(root, path).split(sep).join("/");
    const commit = (await readFile(path, "utf8").catch(() => "")).trim();
    if (isRevision(name) && isCommit(commit)) refs.push({ name, commit });
  }
  return refs;
}

/** Files of a snapshot; links that lead nowhere are left out. */
async function filesUnder(root: string): Promise<CachedFile[]> {
  const files: CachedFile[] = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true }).catch(() => [])) {
    const path = join(entry.parentPath, entry.name);
    const name = relative(root, path).split(sep).join("/");
    const found = entry.isDirectory() ? null : await stat(path).catch(() => null);
    if (found?.isFile() && isHubPath(name)) files.push({ path: name, size: found.size });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function bytesUnder(folder: string): Promise<{ bytes: number; unfinishedBytes: number }> {
  let bytes = 0;
  let unfinishedBytes = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile()) continue;
    const { size, blocks } = await lstat(join(entry.parentPath, entry.name)).catch(() => ({
      size: 0,
      blocks: 0,
    }));
    const isUnfinished = /\.(bitnet-part|incomplete)$/.test(entry.name);
    const onDisk = isUnfinished ? Math.min(size, blocks * 512) : size; // holes take no room
    bytes += onDisk;
    if (isUnfinished) unfinishedBytes += onDisk;
  }
  return { bytes, unfinishedBytes };
}

/**
 * Removes a model, or one file of it, from the cache, with the blobs that nothing refers to any more.
 * @returns Bytes that became free.
 * @throws BitNetError FILE_NOT_FOUND when there is no such thing, IO_FAILED.
 */
export async function removeFromCache(
  cacheDir: string,
  repo: string,
  { file, revision }: { file: string | null; revision: string | null },
): Promise<number> {
  const folder = repoFolder(cacheDir, repo);
  const before = await bytesUnder(folder);
  const model = (await listCache(cacheDir)).find((candidate) => candidate.repo === repo);
  if (model === undefined) throw new BitNetError("FILE_NOT_FOUND", `${repo}: not in the cache ${cacheDir}`);
  try {
    if (file === null && revision === null) {
      await rm(folder, { recursive: true, force: true });
      return before.bytes;
    }
    const revisions = model.revisions.filter(
      ({ commit, refs }) => revision === null || commit === revision || refs.includes(revision),
    );
    const pointers = revisions.flatMap(({ commit, files }) =>
      files
        .filter(({ path }) => file === null || path === file)
        .map(({ path }) => join(folder, "snapshots", commit, ...path.split("/"))),
    );
    if (pointers.length === 0) {
      const what = [file, revision === null ? null : `revision ${revision}`]
        .filter((name) => name !== null)
        .join(" of ");
      throw new BitNetError("FILE_NOT_FOUND", `${repo}: has no ${what} in the cache`);
    }
    for (const pointer of pointers) await rm(pointer, { force: true });
    await removeUnused(folder);
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    throw new BitNetError(
      "IO_FAILED",
      `${folder}: cannot be removed (${(cause as NodeJS.ErrnoException).code})`,
      { cause },
    );
  }
  return before.bytes - (await bytesUnder(folder)).bytes;
}

/** Removes blobs without a link to them, but for what another process is just downloading, then empty snapshots and their refs, then the repository when nothing is left. */
async function removeUnused(folder: string): Promise<void> {
  const used = new Set<string>();
  const snapshots = join(folder, "snapshots");
  for (const commit of await readdir(snapshots).catch((): string[] => [])) {
    const files = await filesUnder(join(snapshots, commit));
    for (const { path } of files) {
      const target = await readlink(join(snapshots, commit, ...path.split("/"))).catch(() => null);
      if (target !== null) used.add(basename(target));
    }
    if (files.length === 0) await rm(join(snapshots, commit), { recursive: true, force: true });
  }
  const blobs = join(folder, "blobs");
  let isBusy = false;
  for (const blob of await readdir(blobs).catch((): string[] => [])) {
    const [hash = ""] = blob.split(".");
    if (used.has(hash)) continue;
    if (await isLocked(lockPath(blobs, hash))) isBusy = true;
    else await rm(join(blobs, blob), { force: true });
  }
  const left = await readdir(snapshots).catch((): string[] => []);
  if (left.length === 0 && !isBusy) return rm(folder, { recursive: true, force: true });
  for (const { name, commit } of await refsOf(folder))
    if (!left.includes(commit)) await rm(join(folder, "refs", ...name.split("/")), { force: true });
}
