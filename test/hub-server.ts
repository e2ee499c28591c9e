/** A hub of the tests' own on a loopback port: repositories from memory, and every misbehaviour that a test asks for. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { seededIntegers } from "./seeded.ts";

export interface ServedFile {
  bytes: Buffer;
  /** Large files: their SHA-256 is promised. Others: Git's name. */
  isLarge: boolean;
  /** Promised instead of the truth. */
  promisedSize?: number;
  promisedHash?: string;
}

/** Answers a request itself and returns true, or false for the ordinary answer. `n` counts requests for files from 0; −1 for others. */
type Misbehaviour = (
  request: IncomingMessage,
  response: ServerResponse,
  state: { n: number; path: string },
) => boolean;

export interface HubServer {
  endpoint: string;
  repo: string;
  /** Requests so far: path, and the headers that matter. */
  seen: { path: string; range: string | undefined; authorization: string | undefined }[];
  misbehave: Misbehaviour | null;
  /** Files by path, of the only repository. */
  files: Map<string, ServedFile>;
  close(): Promise<void>;
}

export const commit = "0123456789abcdef0123456789abcdef01234567";
export const repo = "tests/tiny";

export function randomBytes(length: number, seed: number): Buffer {
  const integers = seededIntegers(seed);
  return Buffer.from(Uint8Array.from({ length }, () => integers() & 255));
}

export const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const gitName = (bytes: Uint8Array) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

/** @param served The only repository: `owner/name`, or `datasets/owner/name`. */
export async function startHub(files: Record<string, ServedFile>, served = repo): Promise<HubServer> {
  const server = createServer((request, response) => answer(hub, request, response));
  const hub: HubServer = {
    endpoint: "",
    repo: served,
    seen: [],
    misbehave: null,
    files: new Map(Object.entries(files)),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  hub.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return hub;
}

function answer(hub: HubServer, request: IncomingMessage, response: ServerResponse): void {
  const path = decodeURIComponent(new URL(request.url ?? "", "http://x").pathname);
  const { range, authorization } = request.headers;
  hub.seen.push({ path, range, authorization });
  const isFile = path.includes("/resolve/");
  const n = isFile ? hub.seen.filter((earlier) => earlier.path.includes("/resolve/")).length - 1 : -1;
  if (hub.misbehave?.(request, response, { n, path })) return;
  const { repo } = hub;
  const described = `/api/${repo.startsWith("datasets/") ? repo : `models/${repo}`}/revision`;
  if (path === `${described}/main` || path === `${described}/${commit}`) {
    response.setHeader("content-type", "application/json").end(JSON.stringify(listing(hub)));
    return;
  }
  const file = hub.files.get(path.replace(`/${repo}/resolve/${commit}/`, ""));
  if (!isFile || file === undefined) {
    response.setHeader("x-error-code", isFile ? "EntryNotFound" : "RepoNotFound");
    response.writeHead(isFile ? 404 : 401).end();
    return;
  }
  sendRange(response, file.bytes, range);
}

function listing({ files, repo }: HubServer): object {
  const siblings = [...files].map(([rfilename, { bytes, isLarge, promisedSize, promisedHash }]) => {
    const size = promisedSize ?? bytes.length;
    return isLarge
      ? {
          rfilename,
          size,
          blobId: "0".repeat(40),
          lfs: { sha256: promisedHash ?? sha256(bytes), size, pointerSize: 130 },
        }
      : { rfilename, size, blobId: promisedHash ?? gitName(bytes) };
  });
  return { id: repo, sha: commit, siblings };
}

/** The ordinary answer to a range, or to none. */
export function sendRange(response: ServerResponse, bytes: Buffer, range: string | undefined): void {
  const [, first = "0", end = ""] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  const last = end === "" ? bytes.length - 1 : Number(end);
  if (range === undefined) {
    response.writeHead(200, { "content-length": bytes.length }).end(bytes);
    return;
  }
  const piece = bytes.subarray(Number(first), last + 1);
  response.writeHead(206, {
    "content-length": piece.length,
    "content-range": `bytes ${first}-${Number(first) + piece.length - 1}/${bytes.length}`,
  });
  response.end(piece);
}
