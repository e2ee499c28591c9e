/**
 * Requests to a hub: redirects followed by hand (only to https, or from loopback to loopback), the token for the endpoint's own origin
 * alone, silence taken for a broken connection, and every refusal in words. Retrying is decided by `retrying`. Header names of
 * refusals: huggingface_hub.
 */
import { BitNetError, throwIfAborted } from "@bitnet.ts/core";
import type { HubSettings } from "./settings.ts";

export interface RequestOptions {
  settings: HubSettings;
  /** What is asked for, for messages: `owner/name` or `owner/name/file`. */
  what: string;
  headers?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
}

/** A failure that another attempt may not meet. */
export class PassingFailure extends BitNetError {
  /** What the server asked for. */
  readonly waitMs: number | null;

  constructor(message: string, waitMs: number | null = null, cause?: unknown) {
    super("IO_FAILED", message, cause === undefined ? {} : { cause });
    this.waitMs = waitMs;
  }
}

const maxRedirects = 8;
const passingStatuses = [408, 425, 429, 500, 502, 503, 504];

/**
 * One request; the caller reads the body with `bodyPieces`. Answers 200 and 206 only.
 * @throws PassingFailure, or BitNetError ACCESS_DENIED (401, 403), FILE_NOT_FOUND (404), IO_FAILED, ABORTED.
 */
export async function request(address: string, options: RequestOptions): Promise<Response> {
  const { settings, what } = options;
  let url = new URL(address);
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const response = await fetchOnce(url, options);
    if (response.status === 200 || response.status === 206) return response;
    await response.body?.cancel().catch(() => {});
    if (![301, 302, 303, 307, 308].includes(response.status)) refuse(response, url, settings, what);
    url = redirectTarget(response, url, what);
  }
  throw new BitNetError("IO_FAILED", `${what}: the server redirects in circles`);
}

/** Browsers set these themselves. */
const ownHeaders = {
  // Offsets count bytes of the file, not of a compressed transfer.
  "accept-encoding": "identity",
  "user-agent": "bitnet.ts",
};

async function fetchOnce(url: URL, { settings, what, headers, signal }: RequestOptions): Promise<Response> {
  throwIfAborted(signal);
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), settings.stallMs);
  const mayHaveToken = url.origin === new URL(settings.endpoint).origin && isPrivate(url);
  try {
    return await fetch(url, {
      redirect: settings.followsRedirects === "fetch" ? "follow" : "manual",
      cache: "no-store", // browsers would keep models a second time, and answer ranges from pieces of their own
      headers: {
        ...(settings.followsRedirects === "fetch" ? {} : ownHeaders),
        ...headers,
        ...(mayHaveToken && settings.token !== null ? { authorization: `Bearer ${settings.token}` } : {}),
      },
      signal: signal === undefined ? patience.signal : AbortSignal.any([signal, patience.signal]),
    });
  } catch (cause) {
    throwIfAborted(signal);
    throw patience.signal.aborted ? stalled(url, settings, what) : networkFailure(url, settings, what, cause);
  } finally {
    clearTimeout(timer);
  }
}

/** The bytes of an answer as they come. @throws PassingFailure when the connection breaks or falls silent; ABORTED. */
export async function* bodyPieces(response: Response, options: RequestOptions): AsyncGenerator<Uint8Array> {
  const { settings, what, signal } = options;
  const url = new URL(response.url);
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  let isStalled = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = () => reader.cancel().catch(() => {});
  signal?.addEventListener("abort", stop);
  try {
    for (;;) {
      timer = setTimeout(() => {
        isStalled = true;
        stop();
      }, settings.stallMs);
      const { done, value } = await reader.read();
      clearTimeout(timer);
      throwIfAborted(signal);
      if (isStalled) throw stalled(url, settings, what);
      if (done) return;
      yield value;
    }
  } catch (cause) {
    throwIfAborted(signal);
    throw cause instanceof BitNetError ? cause : networkFailure(url, settings, what, cause);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    stop();
  }
}

/** True where nobody on the way can read along. */
function isPrivate(url: URL): boolean {
  return url.protocol === "https:" || isLoopback(url);
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

function redirectTarget(response: Response, from: URL, what: string): URL {
  const location = response.headers.get("location") ?? "";
  const target = URL.canParse(location, from.href) ? new URL(location, from) : null;
  const isAllowed =
    target?.protocol === "https:" || (target?.protocol === "http:" && isLoopback(target) && isLoopback(from));
  if (target !== null && isAllowed) return target;
  const shown = target === null ? "an address that is none" : target.origin;
  throw new BitNetError("IO_FAILED", `${what}: the server redirects to ${shown}; only https is followed`);
}

function refuse(response: Response, url: URL, settings: HubSettings, what: string): never {
  const { status } = response;
  if (passingStatuses.includes(status)) {
    const reason =
      status === 429
        ? `asks for fewer requests (429)${settings.token === null && !isAddress(what) ? `; a token (${tokenPlaces(settings)[0]}) raises the limit` : ""}`
        : `answered ${status}`;
    throw new PassingFailure(`${what}: ${url.host} ${reason}`, retryAfter(response));
  }
  const code = response.headers.get("x-error-code") ?? "";
  const page = isAddress(what) ? null : `${settings.endpoint}/${what.split("/").slice(0, 2).join("/")}`;
  const details = { status };
  if (status === 404) {
    const missing =
      code === "EntryNotFound"
        ? "no such file in the repository"
        : code === "RevisionNotFound"
          ? "no such revision"
          : "not found";
    throw new BitNetError(
      "FILE_NOT_FOUND",
      `${what}: ${missing} (404)${page === null ? "" : `; see ${page}`}`,
      { details },
    );
  }
  if (status === 401 || status === 403) {
    const reason = page === null ? `${url.host} does not allow it` : deniedReason(code, settings, page);
    throw new BitNetError("ACCESS_DENIED", `${what}: ${reason} (${status})`, { details });
  }
  throw new BitNetError("IO_FAILED", `${what}: ${url.host} answered ${status}`, { details });
}

/** Of a file that is no hub's; others are told as owner/name. */
function isAddress(what: string): boolean {
  return /^https?:/.test(what);
}

/** Pages have neither an environment nor a command line. */
function isOnPage({ followsRedirects }: HubSettings): boolean {
  return followsRedirects === "fetch";
}

function tokenPlaces(settings: HubSettings): readonly string[] {
  return isOnPage(settings) ? ["the option hub.token"] : ["HF_TOKEN", "--token"];
}

function deniedReason(code: string, settings: HubSettings, page: string): string {
  const hasToken = settings.token !== null;
  const places = tokenPlaces(settings).join(" or ");
  if (code === "GatedRepo") {
    return hasToken
      ? `the owner lets only some people in; ask for access at ${page} with the account of your token`
      : `the owner lets only some people in; ask for access at ${page}, then give a token (${places})`;
  }
  return hasToken
    ? "there is no such repository, or your token may not read it; check the name and the token's rights"
    : `there is no such repository, or it is private; check the name, or give a token (${places})`;
}

const longestWaitMs = 5 * 60_000;

/** `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3). */
function retryAfter(response: Response): number | null {
  const text = response.headers.get("retry-after")?.trim() ?? "";
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), longestWaitMs) : null;
}

function stalled(url: URL, settings: HubSettings, what: string): PassingFailure {
  return new PassingFailure(`${what}: ${url.host} sent nothing for ${settings.stallMs / 1000} s`);
}

function networkFailure(url: URL, settings: HubSettings, what: string, cause: unknown): PassingFailure {
  const reason = cause instanceof Error ? (cause.cause ?? cause) : cause;
  const code = (reason as { code?: unknown } | null)?.code;
  // Browsers do not tell a page that a host keeps its files from it.
  const other = isOnPage(settings)
    ? "does the host let other pages read it (CORS)?"
    : "is HF_ENDPOINT the hub that is meant?";
  return new PassingFailure(
    `${what}: the connection to ${url.host} failed${typeof code === "string" ? ` (${code})` : ""}; is there a network, and ${other}`,
    null,
    cause,
  );
}
