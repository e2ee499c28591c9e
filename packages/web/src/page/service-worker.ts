/**
 * The service worker: keeps the page's own files for offline use, and gives every answer of this host the headers of isolation. What comes
 * from elsewhere (models of a hub) passes by; models are kept by the library. The build puts in the list of files and its hash.
 */
declare const FILES: readonly string[];
declare const VERSION: string;
declare const POLICY: string;

interface ExtendableEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
/** The part of ServiceWorkerGlobalScope that is used. */
interface Scope {
  readonly registration: { readonly scope: string };
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: ExtendableEvent) => void): void;
  addEventListener(type: "fetch", listener: (event: FetchEvent) => void): void;
}

const scope = globalThis as unknown as Scope;
const prefix = "bitnet-page-";
const cacheName = `${prefix}${VERSION}`;

scope.addEventListener("install", (event) => event.waitUntil(install()));
scope.addEventListener("activate", (event) => event.waitUntil(activate()));
scope.addEventListener("fetch", (event) => {
  const { method, url, mode } = event.request;
  if (method !== "GET" || !url.startsWith(scope.registration.scope)) return;
  event.respondWith(mode === "navigate" ? navigate(event.request) : resource(event.request));
});

async function install(): Promise<void> {
  const cache = await caches.open(cacheName);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })));
  await scope.skipWaiting();
}

async function activate(): Promise<void> {
  for (const name of await caches.keys())
    if (name.startsWith(prefix) && name !== cacheName) await caches.delete(name);
  await scope.clients.claim();
}

/** The newest page there is; without a network the kept one. */
async function navigate(request: Request): Promise<Response> {
  const kept = async () => (await caches.open(cacheName)).match("./");
  try {
    const response = await fetch(request);
    return response.ok ? isolated(response) : isolated((await kept()) ?? response);
  } catch {
    return isolated((await kept()) ?? Response.error());
  }
}

async function resource(request: Request): Promise<Response> {
  // A model may be asked for in ranges; only whole files are kept.
  const kept = request.headers.has("range") ? undefined : await (await caches.open(cacheName)).match(request);
  return isolated(kept ?? (await fetch(request)));
}

function isolated(response: Response): Response {
  if (response.status === 0 || response.status === 304) return response;
  const headers = new Headers(response.headers);
  headers.set("cross-origin-opener-policy", "same-origin");
  headers.set("cross-origin-embedder-policy", "require-corp");
  headers.set("cross-origin-resource-policy", "same-origin");
  if (!headers.has("content-security-policy")) headers.set("content-security-policy", POLICY);
  const { status, statusText, body } = response;
  return new Response(body, { status, statusText, headers });
}
