/**
 * Serves the page's static files with the headers that isolate it, and one model file beside them. Ranges, validators and paths are the
 * business of `send`.
 */
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BitNetError } from "@bitnet.ts/core";
import send from "send";
import { contentPolicy, isolationHeaders } from "./policy.ts";

export interface WebServerOptions {
  /** Address to listen on; default 127.0.0.1. */
  host?: string;
  /** 0: any that is free. Default 8080. */
  port?: number;
  /** A GGUF file that the page loads at once. */
  modelFile?: string;
  /** A hub other than huggingface.co, such as a mirror. */
  hub?: string;
}

export interface WebServer {
  url: string;
  close(): Promise<void>;
}

/** @throws BitNetError FILE_NOT_FOUND in a source checkout that has not been built. */
export function siteFolder(): string {
  const folder = fileURLToPath(new URL("../site", import.meta.url));
  if (existsSync(resolve(folder, "sw.js"))) return folder;
  throw new BitNetError("FILE_NOT_FOUND", `${folder}: the page has not been built; run "npm run build"`);
}

/** @throws BitNetError FILE_NOT_FOUND, INVALID_ARGUMENT, IO_FAILED when the port is taken. */
export async function startWebServer(options: WebServerOptions = {}): Promise<WebServer> {
  const { host = "127.0.0.1", port = 8080, hub } = options;
  const folder = siteFolder();
  const model = options.modelFile === undefined ? null : await checkModel(options.modelFile);
  const page = await preparePage(folder, { model, hub: hub ?? null });
  const headers = {
    ...isolationHeaders,
    "content-security-policy": contentPolicy(hub === undefined ? null : new URL(hub).origin),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
  };
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    const path = (request.url ?? "/").replace(/\?.*$/s, "");
    if (!isExpected(request.headers.host, host)) return refuse(response, 403, "this server has another name");
    if (request.method !== "GET" && request.method !== "HEAD")
      return refuse(response, 405, "only GET is known");
    if (path === "/" || path === "/index.html") {
      response.setHeader("content-type", "text/html; charset=utf-8");
      return response.end(request.method === "HEAD" ? undefined : page);
    }
    const isModel = model !== null && path === modelPath(model);
    const file = isModel
      ? send(request, encodeURIComponent(basename(model)), { root: dirname(model), cacheControl: false })
      : send(request, path, { root: folder, index: false, cacheControl: false });
    file.on("error", (error: { status?: number }) => refuse(response, error.status ?? 500, "no such file"));
    file.on("directory", () => refuse(response, 404, "no such file"));
    file.pipe(response);
  };
  const server = createServer(answer);
  await new Promise<void>((listening, failed) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const reason =
        cause.code === "EADDRINUSE" ? "the port is taken; give another with --port" : cause.message;
      failed(new BitNetError("IO_FAILED", `${host}:${port}: ${reason}`, { cause }));
    });
    server.listen(port, host, listening);
  });
  const { port: found } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${found}`,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

function modelPath(file: string): string {
  return `/model/${encodeURIComponent(basename(file))}`;
}

async function checkModel(path: string): Promise<string> {
  const found = await stat(path).catch(() => null);
  if (found?.isFile() === true && /\.gguf$/i.test(path)) return resolve(path);
  const expected = "expected a GGUF file for the browser";
  if (found === null) throw new BitNetError("FILE_NOT_FOUND", `${path}: no such file; ${expected}`);
  throw new BitNetError("INVALID_ARGUMENT", `${path}: ${expected} (its name must end in .gguf)`);
}

/** The page with what the server adds: which model, which hub. */
async function preparePage(
  folder: string,
  { model, hub }: { model: string | null; hub: string | null },
): Promise<string> {
  const html = await readFile(resolve(folder, "index.html"), "utf8");
  const facts = { "bitnet-model": model && `.${modelPath(model)}`, "bitnet-hub": hub };
  const tags = Object.entries(facts)
    .filter(([, content]) => content !== null)
    .map(([name, content]) => `<meta name="${name}" content="${escapeAttribute(content ?? "")}" />`);
  // The policy comes with the headers here.
  return html
    .replace(/<meta http-equiv="content-security-policy"[^>]*>/, "")
    .replace("</head>", `${tags.join("\n")}</head>`);
}

function escapeAttribute(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}

/** Pages of others whose name leads here must not read a model. Beyond loopback the administrator knows the names. */
function isExpected(header: string | undefined, host: string): boolean {
  const name = (header ?? "").replace(/:\d+$/, "").toLowerCase();
  const isLoopback = /^(127(\.\d+){3}|localhost|::1)$/.test(host);
  return !isLoopback || name === host || /^(127(\.\d+){3}|localhost|\[::1\])$/.test(name);
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(`${text}\n`);
}
