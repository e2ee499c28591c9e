/** Brings a model from a hub into the cache or a folder, and finds it there when the hub cannot be asked. */
import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import type { DownloadProgress } from "../types.ts";
import { addToSnapshot, cachedModel, repoFolder, snapshotFolder, writeRef } from "./cache.ts";
import { chooseData } from "./choose-data.ts";
import { type ChosenFiles, chooseFiles } from "./choose-files.ts";
import { readDatasetCard } from "./dataset-card.ts";
import { type DownloadOptions, download } from "./download.ts";
import { checkToken } from "./hub-place.ts";
import { Meter } from "./meter.ts";
import { fetchModelInfo, type HubFile, type HubModel } from "./model-info.ts";
import { parseDatasetReference, parseHubReference } from "./reference.ts";
import { PassingFailure } from "./requests.ts";
import { type HubSettings, hubSettings } from "./settings.ts";

export interface PullOptions extends Omit<DownloadOptions, "settings" | "onBytes" | "onPhase"> {
  /** Branch, tag or commit; default: that of an address, else "main". */
  revision?: string;
  /** Default: HF_TOKEN, else the token that Hugging Face's tools keep. */
  token?: string;
  /** A folder to put the files into, instead of the cache. */
  dir?: string;
  onProgress?: (progress: DownloadProgress) => void;
  /** Which files make up the model, before any of them is brought; whatever it throws ends the pull. */
  onChosen?: (files: readonly ChosenFile[]) => void | Promise<void>;
  /** One-line notices, such as a hub that could not be reached. */
  onNotice?: (line: string) => void;
  /** Replaces what the environment says. */
  settings?: Partial<HubSettings>;
}

export interface ChosenFile {
  path: string;
  /** Bytes. */
  size: number;
  /** Null for small files, of which a hub does not promise it. */
  sha256: string | null;
}

export interface PulledModel {
  repo: string;
  commit: string;
  /** What `BitNet.load` takes: the GGUF file, or the folder. */
  path: string;
  files: readonly { path: string; localPath: string; size: number }[];
  /** True when the hub was not asked. */
  isFromCache: boolean;
}

/**
 * @param source `owner/name[:file]`, `hf:owner/name[:file]` or the address of a model's page.
 * @throws BitNetError INVALID_ARGUMENT, FILE_NOT_FOUND, ACCESS_DENIED, IO_FAILED, ABORTED.
 */
export async function pull(source: string, options: PullOptions = {}): Promise<PulledModel> {
  const settings = { ...(await hubSettings()), ...options.settings };
  if (options.token !== undefined) settings.token = checkToken(options.token, "the token");
  const reference = parseHubReference(source, settings.endpoint);
  const revision = options.revision ?? reference.revision ?? "main";
  const { repo } = parseHubReference(`${reference.repo}@${revision}`, settings.endpoint); // checks the revision
  return pullChosen(repo, revision, (model) => chooseFiles(model, reference.file), settings, options);
}

/**
 * Files of a dataset, whose names often hold a hash.
 * @param repo `owner/name`
 * @param patterns Each is to match the paths of one file or of the parts of one.
 * @returns Local paths for each pattern, in the order of their names.
 * @throws BitNetError as `pull`.
 */
export async function pullDataset(
  repo: string,
  patterns: readonly RegExp[],
  options: PullOptions = {},
): Promise<string[][]> {
  const settings = { ...(await hubSettings()), ...options.settings };
  if (options.token !== undefined) settings.token = checkToken(options.token, "the token");
  const revision = options.revision ?? "main";
  parseHubReference(`${repo}@${revision}`, settings.endpoint); // checks both
  const choose = (found: HubModel): ChosenFiles => {
    const missing = patterns.find((pattern) => !found.files.some(({ path }) => pattern.test(path)));
    if (missing !== undefined)
      throw new BitNetError("FILE_NOT_FOUND", `${found.repo}: has no file like ${missing.source}`);
    return {
      files: found.files.filter(({ path }) => patterns.some((pattern) => pattern.test(path))),
      entry: null,
    };
  };
  const { files } = await pullChosen(`datasets/${repo}`, revision, choose, settings, options);
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  return patterns.map((pattern) =>
    sorted.filter(({ path }) => pattern.test(path)).map(({ localPath }) => localPath),
  );
}

/**
 * Examples of a dataset: files of one split, in JSONL, JSON, CSV, Parquet or as texts.
 * @param source `hf:owner/name[@revision][:part]`, where the part is a split, a configuration of the dataset's card, `configuration/split`, a folder,
 * `folder/split` or a file (see `chooseData`), or the address of the dataset's page; without a part the training split.
 * @returns Local paths, in the order of their names.
 * @throws BitNetError as `pull`; INVALID_ARGUMENT where the repository has several sets.
 */
export async function pullExamples(source: string, options: PullOptions = {}): Promise<string[]> {
  const settings = { ...(await hubSettings()), ...options.settings };
  if (options.token !== undefined) settings.token = checkToken(options.token, "the token");
  const { repo, file, revision } = parseDatasetReference(source, settings.endpoint);
  const choose = async (found: HubModel, read: ReadText): Promise<ChosenFiles> => {
    const isFile = found.files.some(({ path }) => path === file);
    const text = isFile ? null : await read(cardName);
    const card = text === null ? [] : await readDatasetCard(text, `${found.repo}/${cardName}`);
    return chooseData(found, file, card);
  };
  const named = options.revision ?? revision ?? "main";
  parseDatasetReference(`hf:${repo}@${named}`, settings.endpoint); // checks the revision
  const { files } = await pullChosen(`datasets/${repo}`, named, choose, settings, options);
  return files.map(({ localPath }) => localPath);
}

/** A text of the repository; null where it has no such file. */
type ReadText = (path: string) => Promise<string | null>;
type Choose = (model: HubModel, read: ReadText) => ChosenFiles | Promise<ChosenFiles>;

const cardName = "README.md";
/** Cards are written by hand. */
const maxTextBytes = 2 ** 24;

async function pullChosen(
  repo: string,
  revision: string,
  choose: Choose,
  settings: HubSettings,
  options: PullOptions,
): Promise<PulledModel> {
  const online = settings.isOffline ? null : await askHub(repo, revision, settings, options);
  if (online === null) return fromCache(repo, revision, choose, settings);
  const read = async (path: string) => {
    const file = online.files.find((each) => each.path === path);
    if (file === undefined || file.size > maxTextBytes) return null;
    return readFile(await bringFile(online, file, { settings, options }), "utf8");
  };
  const chosen = await choose(online, read);
  await options.onChosen?.(
    chosen.files.map(({ path, size, hash, hashKind }) => ({
      path,
      size,
      sha256: hashKind === "sha256" ? hash : null,
    })),
  );
  return bring(online, revision, chosen, settings, options);
}

/** Null when the hub cannot be reached but the cache has the revision. */
async function askHub(
  repo: string,
  revision: string,
  settings: HubSettings,
  options: PullOptions,
): Promise<HubModel | null> {
  const isCached =
    options.dir === undefined && (await cachedModel(settings.cacheDir, repo, revision)) !== null;
  try {
    // With a copy at hand, nobody waits through many attempts.
    const attempts = isCached ? 1 : options.attempts;
    return await fetchModelInfo(repo, revision, {
      ...options,
      settings,
      ...(attempts === undefined ? {} : { attempts }),
    });
  } catch (error) {
    if (!isCached || !(error instanceof PassingFailure)) throw error;
    options.onNotice?.(`bitnet: ${error.message}; what the cache holds of ${repo} serves`);
    return null;
  }
}

async function fromCache(
  repo: string,
  revision: string,
  choose: Choose,
  settings: HubSettings,
): Promise<PulledModel> {
  const model = await cachedModel(settings.cacheDir, repo, revision);
  if (model === null) {
    throw new BitNetError(
      "FILE_NOT_FOUND",
      `${repo}: revision ${revision} is not in the cache ${settings.cacheDir}, and HF_HUB_OFFLINE forbids to ask the hub`,
    );
  }
  const folder = snapshotFolder(settings.cacheDir, repo, model.commit);
  const chosen = await choose(model, async (path) => {
    const file = model.files.find((each) => each.path === path);
    return file === undefined || file.size > maxTextBytes ? null : readFile(join(folder, path), "utf8");
  });
  return described(model, chosen, folder, true);
}

async function bring(
  model: HubModel,
  revision: string,
  chosen: ChosenFiles,
  settings: HubSettings,
  options: PullOptions,
): Promise<PulledModel> {
  const { repo, commit } = model;
  const meter = new Meter(chosen.files, options.onProgress);
  for (const file of chosen.files) {
    await bringFile(model, file, { settings, options, meter });
    meter.finished(file);
  }
  if (options.dir === undefined) await writeRef(settings.cacheDir, repo, revision, commit);
  const folder =
    options.dir === undefined ? snapshotFolder(settings.cacheDir, repo, commit) : resolve(options.dir);
  return described(model, chosen, folder, false);
}

/** @returns Where the file lies: in the cache, or in the folder that was asked for. */
async function bringFile(
  model: HubModel,
  file: HubFile,
  { settings, options, meter }: { settings: HubSettings; options: PullOptions; meter?: Meter },
): Promise<string> {
  const { repo, commit } = model;
  const { onProgress: _own, onChosen: _asked, settings: _replaced, ...downloadOptions } = options;
  const folder = options.dir === undefined ? null : resolve(options.dir);
  const blobs = join(repoFolder(settings.cacheDir, repo), "blobs");
  const target = folder === null ? join(blobs, file.hash) : join(folder, ...file.path.split("/"));
  const workFolder = folder === null ? blobs : join(folder, ".cache", "bitnet");
  await download(
    { file, repo, commit, target, workFolder },
    {
      ...downloadOptions,
      settings,
      onBytes: (bytes) => meter?.bytes(file, bytes),
      onPhase: (phase) => meter?.phase(file, phase),
    },
  );
  return folder === null ? addToSnapshot(settings.cacheDir, model, file) : target;
}

async function described(
  model: HubModel,
  { files, entry }: ChosenFiles,
  folder: string,
  isFromCache: boolean,
): Promise<PulledModel> {
  const localPath = (path: string) => join(folder, ...path.split("/"));
  const listed = await Promise.all(
    files.map(async ({ path }) => ({
      path,
      localPath: localPath(path),
      size: (await stat(localPath(path))).size,
    })),
  );
  const { repo, commit } = model;
  return { repo, commit, path: entry === null ? folder : localPath(entry), files: listed, isFromCache };
}
