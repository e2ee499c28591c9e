/** A page of its own for the library: a script bundled by esbuild, the package's folder worker/ beside it, and what is served with headers and a policy. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { root } from "./packed-project.ts";

const html = '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/stdin.js"></script>';
/** All that a page needs, and no more: no `unsafe-eval`. */
const policy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' http:; img-src data:";
const isolation = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

export interface LibraryPage {
  url: string;
  close(): void;
}

/**
 * Serves the page at / and, with the headers that isolate it, at /isolated.
 * @param answer Answers a request itself and returns true.
 */
export async function serveLibraryPage(
  script: string,
  answer: (request: IncomingMessage, response: ServerResponse) => boolean = () => false,
): Promise<LibraryPage> {
  const bundle = mkdtempSync(join(tmpdir(), "bitnet-browser-"));
  const common = { bundle: true, format: "esm", outdir: bundle, logLevel: "error" } as const;
  await build({ ...common, stdin: { contents: script, resolveDir: root, sourcefile: "page.js" } });
  const server = createServer((request, response) => {
    if (answer(request, response)) return;
    const isIsolated = request.url === "/isolated";
    const [path] = /^\/(stdin\.js|worker\/[\w-]+\.(js|wasm))$/.exec(request.url ?? "") ?? [];
    const folder = path?.startsWith("/worker") ? join(root, "packages", "bitnet.ts") : bundle;
    const type =
      path === undefined ? "text/html" : path.endsWith(".js") ? "text/javascript" : "application/wasm";
    response.setHeader("content-type", type);
    response.setHeader("content-security-policy", policy);
    // A script of a worker needs the second header as well where its page is isolated.
    if (isIsolated || path !== undefined)
      for (const [name, value] of Object.entries(isolation)) response.setHeader(name, value);
    response.end(path === undefined ? html : readFileSync(join(folder, path)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections();
      server.close();
      rmSync(bundle, { recursive: true, force: true });
    },
  };
}
