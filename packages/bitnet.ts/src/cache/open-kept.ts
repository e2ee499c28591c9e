/**
 * Opens a model by address or by its name on a hub through the cache. Without a cache (or with `cache: false`) the bytes are read from the
 * server by ranges, as they are needed.
 */
import {
  BitNetError,
  type ByteSource,
  blobSource,
  checkRange,
  type FileRoot,
  openUrl,
  urlRoot,
} from "@bitnet.ts/core";
import { hash as sha256 } from "@stablelib/sha256";
import { type ChosenFiles, chooseFiles } from "../hub/choose-files.ts";
import { checkToken, defaultEndpoint, parseEndpoint } from "../hub/hub-place.ts";
import { Meter } from "../hub/meter.ts";
import { fetchModelInfo, type HubFile, type HubModel, isHubModel } from "../hub/model-info.ts";
import { isHubLocation, parseHubReference } from "../hub/reference.ts";
import { PassingFailure } from "../hub/requests.ts";
import type { HubSettings } from "../hub/settings.ts";
import type { LocationRequest } from "../types.ts";
import { canWriteHere, openCacheFolder, readFile, withLock, writeText } from "./cache-folder.ts";
import { hex } from "./file-record.ts";
import { type KeepTask, keepFile } from "./keep-file.ts";

type Folder = FileSystemDirectoryHandle;

const listingsName = "listings";

/** @throws BitNetError INVALID_ARGUMENT, FILE_NOT_FOUND, ACCESS_DENIED, IO_FAILED, ABORTED. */
export async function openKept(location: string, request: LocationRequest): Promise<FileRoot> {
  const { endpoint, token } = request.hub ?? {};
  const settings: HubSettings = {
    endpoint: parseEndpoint(endpoint ?? defaultEndpoint, "hub.endpoint"),
    cacheDir: "",
    token: token === undefined ? null : checkToken(token, "hub.token"),
    isOffline: false,
    stallMs: 20_000,
    followsRedirects: "fetch",
  };
  const folder = await folderFor(request);
  if (isHubLocation(location, settings.endpoint)) return openFromHub(location, folder, settings, request);
  const url = new URL(location);
  // A folder by address is read by ranges: which files it has is found out by asking for them.
  if (folder === null || !/\.gguf$/i.test(url.pathname))
    return urlRoot(url, request.signal ? { signal: request.signal } : {});
  return openAddress(url, folder, { ...settings, token: null, endpoint: url.origin }, request);
}

async function folderFor({ cache, onNotice }: LocationRequest): Promise<Folder | null> {
  if (cache === false) return null;
  const folder = canWriteHere() ? await openCacheFolder() : null;
  if (folder === null)
    onNotice?.(
      "bitnet: this browser (or window) keeps no files; the model is read from the server each time",
    );
  return folder;
}

async function openAddress(
  url: URL,
  folder: Folder,
  settings: HubSettings,
  request: LocationRequest,
): Promise<FileRoot> {
  const file = decodeURIComponent(url.pathname.replace(/^.*\//, ""));
  const meter = new Meter([{ path: file, size: 0, hash: "", hashKind: "sha256" }], request.onDownload);
  const task: KeepTask = {
    name: `url-${hex(sha256(new TextEncoder().encode(url.href))).slice(0, 40)}`,
    model: url.origin + url.pathname,
    file,
    address: url.href,
    promised: null,
    settings,
  };
  const part = /-00001-of-\d{5}\.gguf$/i.test(file);
  // The parts of a split model are found beside the first; they are kept by their own addresses.
  const openSibling = async (fileName: string) => {
    const sibling = new URL(url);
    sibling.pathname = sibling.pathname.replace(/[^/]*$/, encodeURIComponent(fileName));
    const root = await openAddress(sibling, folder, settings, request);
    return root.kind === "file" ? root.source : null;
  };
  const source = await sourceOf(folder, task, meter, { path: file }, request);
  return { kind: "file", source, ...(part ? { openSibling } : {}) };
}

async function openFromHub(
  location: string,
  folder: Folder | null,
  settings: HubSettings,
  request: LocationRequest,
): Promise<FileRoot> {
  const { repo, file, revision } = parseHubReference(location, settings.endpoint);
  const listing = await askHub(repo, revision ?? "main", folder, settings, request);
  const chosen = chooseFiles(listing, file);
  const meter = new Meter(chosen.files, request.onDownload);
  const at = revision === null ? "" : `@${revision}`;
  const model = `hf:${repo}${at}${file === null ? "" : `:${file}`}`;
  const opened = new Map<string, ByteSource>();
  for (const each of chosen.files) opened.set(each.path, await openHubFile(each, model, listing));
  return rootOf(chosen, repo, opened);

  async function openHubFile(
    { path, size, hash, hashKind }: HubFile,
    name: string,
    { commit }: HubModel,
  ): Promise<ByteSource> {
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    const address = `${settings.endpoint}/${repo}/resolve/${commit}/${encoded}`;
    const task: KeepTask = {
      ...{ name: hash, model: name, file: path, address, settings },
      promised: { size, hash, hashKind },
    };
    if (folder === null) return remote(task, request);
    return sourceOf(folder, task, meter, { path }, request);
  }
}

function rootOf({ entry }: ChosenFiles, repo: string, opened: ReadonlyMap<string, ByteSource>): FileRoot {
  const open = async (fileName: string) => opened.get(fileName) ?? null;
  if (entry === null) return { kind: "folder", name: repo, open };
  const source = opened.get(entry);
  if (source === undefined) throw new BitNetError("INTERNAL", `${repo}: ${entry} was not opened`);
  const beside = entry.replace(/[^/]*$/, "");
  return { kind: "file", source, openSibling: (fileName) => open(beside + fileName) };
}

/** What the hub says of a repository, or what it said the last time when it cannot be reached. */
async function askHub(
  repo: string,
  revision: string,
  folder: Folder | null,
  settings: HubSettings,
  { signal, onNotice }: LocationRequest,
): Promise<HubModel> {
  const key = `${settings.endpoint} ${repo} ${revision}`;
  const known = folder === null ? {} : await readListings(folder);
  const last = known[key];
  try {
    const retry = last === undefined ? { signal } : { signal, attempts: 1 };
    const listing = await fetchModelInfo(repo, revision, { ...retry, settings });
    if (folder !== null)
      await withLock(listingsName, signal, async () =>
        writeText(folder, listingsName, JSON.stringify({ ...(await readListings(folder)), [key]: listing })),
      ).catch(() => {}); // no room: the next visit asks again
    return listing;
  } catch (error) {
    if (last === undefined || !(error instanceof PassingFailure)) throw error;
    onNotice?.(`bitnet: ${error.message}; what is kept of ${repo} serves`);
    return last;
  }
}

async function readListings(folder: Folder): Promise<Record<string, HubModel>> {
  try {
    const text = (await (await readFile(folder, listingsName))?.text()) ?? "{}";
    const value: unknown = JSON.parse(text);
    return Object.fromEntries(
      Object.entries(Object(value) as Record<string, unknown>).filter((entry): entry is [string, HubModel] =>
        isHubModel(entry[1]),
      ),
    );
  } catch {
    return {};
  }
}

async function sourceOf(
  folder: Folder,
  task: KeepTask,
  meter: Meter,
  { path }: { path: string },
  request: LocationRequest,
): Promise<ByteSource> {
  const kept = await keepFile(folder, task, {
    signal: request.signal,
    onNotice: request.onNotice ?? (() => {}),
    onBytes: (done, size) => {
      meter.sized(path, size);
      meter.bytes({ path }, done);
    },
    onPhase: (phase) => meter.phase({ path }, phase),
  });
  const label = `${task.model}${task.promised === null ? "" : ` (${path})`}`;
  const head = blobSource(kept.blob, label);
  return kept.isWhole ? head : spliced(head, await remote(task, request));
}

/** Read by ranges, each time. */
async function remote(
  { address, settings, model, file }: KeepTask,
  { signal }: LocationRequest,
): Promise<ByteSource> {
  const source = await openUrl(address, {
    ...(signal ? { signal } : {}),
    ...(settings.token === null ? {} : { headers: { authorization: `Bearer ${settings.token}` } }),
  });
  if (source === null) throw new BitNetError("FILE_NOT_FOUND", `${model}: ${file} is not on the server`);
  return source;
}

/** The beginning from one source, the rest from another. */
function spliced(head: ByteSource, rest: ByteSource): ByteSource {
  const { name, size } = rest;
  return {
    name,
    size,
    async read(offset, length) {
      checkRange(name, size, offset, length);
      const inHead = Math.max(0, Math.min(length, head.size - offset));
      if (inHead === length) return head.read(offset, length);
      if (inHead === 0) return rest.read(offset, length);
      const bytes = new Uint8Array(length);
      bytes.set(await head.read(offset, inHead));
      bytes.set(await rest.read(offset + inHead, length - inHead), inHead);
      return bytes;
    },
    async close() {
      await Promise.all([head.close(), rest.close()]);
    },
  };
}
