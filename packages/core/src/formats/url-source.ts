/**
 * Random access to a file on an HTTP server by range requests. Small reads take a stretch ahead with them, so that
 * parsing a header costs a few requests; nothing is retried. A server that ignores ranges is refused unless the file is
 * small enough to be read whole, and a file that changes between requests is noticed. Ranges and validators: RFC 9110.
 */
import { type ByteSource, bytesSource, checkRange } from "../base/byte-source.ts";
import { BitNetError, throwIfAborted } from "../base/errors.ts";

export interface UrlOptions {
  signal?: AbortSignal;
  /** Sent with every request, for instance `authorization`. */
  headers?: Readonly<Record<string, string>>;
}

/** What a small read fetches at least. */
const readAheadBytes = 2 ** 20;
/** Read whole from servers that ignore ranges. */
const wholeFileBytes = 64 * 2 ** 20;

interface Remote {
  url: URL;
  /** Address without credentials and query, for messages. */
  name: string;
  options: UrlOptions;
}

/** What tells one state of a file from another, as far as the server says. */
interface Version {
  size: number;
  /** ETag, or else Last-Modified. Compared here: `If-Range` would cost browsers a preflight request. */
  validator: string | null;
}

interface CachedRange {
  offset: number;
  bytes: Uint8Array;
}

/**
 * Opens a file by URL: one request that fetches its beginning. Null when the server says that there is none (404, 410).
 * @throws BitNetError INVALID_ARGUMENT (not http or https), IO_FAILED (network, status, no ranges), ABORTED.
 */
export async function openUrl(address: string | URL, options: UrlOptions = {}): Promise<ByteSource | null> {
  const remote = { url: parseUrl(address), name: "", options };
  remote.name = remote.url.origin + remote.url.pathname;
  const response = await request(remote, `bytes=0-${readAheadBytes - 1}`);
  if (response.status === 404 || response.status === 410) {
    await response.body?.cancel();
    return null;
  }
  if (response.status === 416) return emptySource(remote, response);
  if (response.status === 200) return bytesSource(await wholeBody(remote, response), remote.name);
  if (response.status !== 206)
    return refuse(remote, response, `answered ${response.status} ${response.statusText}`);
  const range = contentRange(remote, response);
  const expected = Math.min(readAheadBytes, range.size);
  if (range.first !== 0 || range.last !== expected - 1) wrongRange(remote, `0-${expected - 1}`, response);
  const bytes = await body(remote, response, expected);
  return rangedSource(remote, { size: range.size, validator: validatorOf(response) }, { offset: 0, bytes });
}

function rangedSource(remote: Remote, version: Version, first: CachedRange): ByteSource {
  let cached = first;
  const { name } = remote;
  return {
    name,
    size: version.size,
    async read(offset, length) {
      checkRange(name, version.size, offset, length);
      const at = offset - cached.offset;
      if (at >= 0 && at + length <= cached.bytes.length) return cached.bytes.subarray(at, at + length);
      const ahead = Math.min(Math.max(length, readAheadBytes), version.size - offset);
      const bytes = await fetchRange(remote, version, offset, ahead);
      if (length <= readAheadBytes) cached = { offset, bytes };
      return bytes.subarray(0, length);
    },
    async close() {
      cached = { offset: 0, bytes: new Uint8Array(0) };
    },
  };
}

async function fetchRange(
  remote: Remote,
  version: Version,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const last = offset + length - 1;
  const response = await request(remote, `bytes=${offset}-${last}`);
  if (response.status === 200)
    return refuse(remote, response, "answered with the whole file: it changed while it was being read");
  if (response.status !== 206)
    return refuse(remote, response, `answered ${response.status} ${response.statusText}`);
  const range = contentRange(remote, response);
  if (range.first !== offset || range.last !== last) wrongRange(remote, `${offset}-${last}`, response);
  if (range.size !== version.size || validatorOf(response) !== version.validator) {
    return refuse(remote, response, "the file changed while it was being read");
  }
  return body(remote, response, length);
}

function parseUrl(address: string | URL): URL {
  const url = URL.canParse(String(address)) ? new URL(address) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new BitNetError("INVALID_ARGUMENT", `${address}: expected an http or https URL`);
  }
  return url;
}

async function request({ url, name, options }: Remote, range: string): Promise<Response> {
  throwIfAborted(options.signal);
  try {
    return await fetch(url, {
      // Offsets count bytes of the file, not of a compressed transfer.
      headers: { ...options.headers, "accept-encoding": "identity", range },
      signal: options.signal ?? null,
    });
  } catch (cause) {
    return networkFailure(name, options, cause);
  }
}

function networkFailure(name: string, options: UrlOptions, cause: unknown): never {
  throwIfAborted(options.signal);
  const reason = cause instanceof Error ? (cause.cause ?? cause) : cause;
  const text = reason instanceof Error ? reason.message : String(reason);
  throw new BitNetError("IO_FAILED", `${name}: the request failed (${text})`, { cause });
}

function validatorOf({ headers }: Response): string | null {
  return headers.get("etag") ?? headers.get("last-modified");
}

/** `Content-Range: bytes first-last/size`. */
function contentRange(remote: Remote, response: Response): { first: number; last: number; size: number } {
  const header = response.headers.get("content-range") ?? "";
  const [, first, last, size] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(header.trim()) ?? [];
  if (size === undefined) {
    return refuse(
      remote,
      response,
      `answered a range with "Content-Range: ${header}", expected first-last/size` +
        (header === "" ? "; a page of another origin sees it only if the server exposes it (CORS)" : ""),
    );
  }
  const encoding = response.headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity")
    return refuse(remote, response, `compresses ranges (${encoding}), which makes offsets useless`);
  return { first: Number(first), last: Number(last), size: Number(size) };
}

function wrongRange(remote: Remote, asked: string, response: Response): never {
  return refuse(
    remote,
    response,
    `was asked for bytes ${asked} and sent ${response.headers.get("content-range")}`,
  );
}

async function emptySource(remote: Remote, response: Response): Promise<ByteSource> {
  if (response.headers.get("content-range")?.trim() !== "bytes */0") {
    return refuse(remote, response, "answered 416 Range Not Satisfiable");
  }
  await response.body?.cancel();
  return bytesSource(new Uint8Array(0), remote.name);
}

/** The body of an answer to a request without range, when it is small. */
async function wholeBody(remote: Remote, response: Response): Promise<Uint8Array> {
  const announced = Number(response.headers.get("content-length") ?? 0);
  const tooLarge = () =>
    refuse(
      remote,
      response,
      `ignores range requests and the file is larger than 64 MiB; download it and open the copy`,
    );
  if (announced > wholeFileBytes) return tooLarge();
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of pull(remote, response)) {
    size += piece.length;
    if (size > wholeFileBytes) return tooLarge();
    pieces.push(piece);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Exactly `length` bytes. */
async function body(remote: Remote, response: Response, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  for await (const piece of pull(remote, response)) {
    if (at + piece.length > length)
      return refuse(remote, response, `sent more than the ${length} bytes asked for`);
    bytes.set(piece, at);
    at += piece.length;
  }
  if (at < length) return refuse(remote, response, `broke off after ${at} of ${length} bytes`);
  return bytes;
}

async function* pull({ name, options }: Remote, response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const next = await reader?.read();
      if (next === undefined || next.done) return;
      yield next.value;
    }
  } catch (cause) {
    networkFailure(name, options, cause);
  } finally {
    reader?.cancel().catch(() => {});
  }
}

function refuse({ name }: Remote, response: Response, problem: string): never {
  if (response.body?.locked === false) response.body.cancel().catch(() => {});
  throw new BitNetError("IO_FAILED", `${name}: the server ${problem}`, {
    details: { status: response.status },
  });
}
