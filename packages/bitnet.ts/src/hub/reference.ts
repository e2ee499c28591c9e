/**
 * Names of models on a hub: `owner/name[:file]`, with or without `hf:` in front, and addresses of model pages. Everything that later
 * becomes a path or part of an address passes one of the patterns here, wherever it comes from.
 */
import { BitNetError } from "@bitnet.ts/core";

export interface HubReference {
  /** `owner/name` */
  repo: string;
  /** Path of a file in the repository; null: whatever files make up the model. */
  file: string | null;
  /** Branch, tag or commit; null: not said. */
  revision: string | null;
}

const part = "[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?";
const repoPattern = new RegExp(`^${part}/${part}$`);
const revisionPattern =
  /^(?:refs\/pr\/\d{1,9}|[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,3})$/;
const segmentPattern = /^[A-Za-z0-9_][A-Za-z0-9._ +=@()-]{0,199}$/;
/** Names that Windows keeps for devices, with any extension. */
const devicePattern = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;

export function isRepoName(text: string): boolean {
  return repoPattern.test(text) && !/--|\.\./.test(text);
}

export function isRevision(text: string): boolean {
  return revisionPattern.test(text) && !text.includes("..") && !text.endsWith(".lock");
}

/** True for a relative path that cannot lead out of a folder on any system: at most eight plain segments. */
export function isHubPath(text: string): boolean {
  const segments = text.split("/");
  return (
    segments.length <= 8 &&
    segments.every((name) => segmentPattern.test(name) && !/[. ]$/.test(name) && !devicePattern.test(name))
  );
}

/** 40 hex digits: the name of a state of a repository. */
export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/**
 * True for what `BitNet.load` looks for on a hub rather than on the disk: `hf:…` and addresses of model pages on `endpoint`.
 * A bare `owner/name` is a path there.
 */
export function isHubLocation(text: string, endpoint: string): boolean {
  if (/^hf:/i.test(text)) return true;
  return !/\/resolve\/|\/raw\//.test(text) && pageHosts(endpoint).some((host) => text.startsWith(`${host}/`));
}

/**
 * @param text `owner/name[:file]`, `hf:owner/name[:file]`, or the address of a model's page or of a file on `endpoint`.
 * @throws BitNetError INVALID_ARGUMENT.
 */
export function parseHubReference(text: string, endpoint: string): HubReference {
  const host = pageHosts(endpoint).find((prefix) => text.startsWith(`${prefix}/`));
  const found =
    host === undefined
      ? parseName(text.replace(/^hf:(?:\/\/)?/i, ""))
      : parsePage(text.slice(host.length + 1));
  if (found !== null && isValid(found)) return found;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${JSON.stringify(text.slice(0, 200))}: expected a model such as microsoft/bitnet-b1.58-2B-4T-gguf, ` +
      "owner/name:file.gguf, or the address of its page",
  );
}

/**
 * @param text `hf:owner/name[@revision][:part]`, or the address of a dataset's page or of a file of it on `endpoint`.
 * @throws BitNetError INVALID_ARGUMENT.
 */
export function parseDatasetReference(text: string, endpoint: string): HubReference {
  const host = pageHosts(endpoint).find((prefix) => text.startsWith(`${prefix}/datasets/`));
  const name = text.replace(/^hf:(?:\/\/)?(?:datasets\/)?/i, "");
  const found = host === undefined ? parseName(name) : parsePage(text.slice(`${host}/datasets/`.length));
  if (found !== null && isValid(found)) return found;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${JSON.stringify(text.slice(0, 200))}: expected a dataset such as hf:owner/name, hf:owner/name:test, ` +
      "hf:owner/name:folder/file.jsonl, or the address of its page",
  );
}

function pageHosts(endpoint: string): string[] {
  return [endpoint, "https://huggingface.co", "https://hf.co", "https://www.huggingface.co"];
}

function parseName(text: string): HubReference | null {
  const [, repo = "", revision = null, file = null] = /^([^:@]*)(?:@([^:]+))?(?::(.+))?$/s.exec(text) ?? [];
  return repo === "" ? null : { repo, file, revision };
}

/** What follows the host: `owner/name`, `owner/name/tree/REVISION`, `owner/name/blob|resolve|raw/REVISION/FILE`. */
function parsePage(path: string): HubReference | null {
  const [plain = ""] = path.split(/[?#]/);
  let segments: string[];
  try {
    segments = plain
      .split("/")
      .filter((name) => name !== "")
      .map(decodeURIComponent);
  } catch {
    return null;
  }
  const [owner = "", name = "", kind, revision = null, ...file] = segments;
  const repo = `${owner}/${name}`;
  if (kind === undefined) return { repo, file: null, revision: null };
  if (kind === "tree" && file.length === 0) return { repo, file: null, revision };
  if (["blob", "resolve", "raw"].includes(kind) && file.length > 0)
    return { repo, file: file.join("/"), revision };
  return null;
}

function isValid({ repo, file, revision }: HubReference): boolean {
  return (
    isRepoName(repo) && (file === null || isHubPath(file)) && (revision === null || isRevision(revision))
  );
}
