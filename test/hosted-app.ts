/** Apps that were built for browsers, on a host that knows files and the headers of isolation and nothing else; and the text that a page of theirs writes. */
import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { Browser } from "puppeteer-core";
import { expect } from "vitest";
import { openPage } from "./web-page.ts";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

export const isolation = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** All that an app needs whose page has no inline scripts. */
const strictPolicy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src data:; style-src 'self' 'unsafe-inline'";
/** With inline scripts: of an import map, or what Next writes. */
export const inlinePolicy = strictPolicy.replace("'self' 'wasm", "'self' 'unsafe-inline' 'wasm");

export interface AppPage {
  /** An example waits for its button; others write without being asked and say when they are done. */
  isExample?: boolean;
  contentPolicy?: string;
  path?: string;
}

export interface Hosted {
  url: string;
  close(): void;
}

/** @param contentPolicy Null: the pages have one of their own. */
export async function hostFolder(folder: string, contentPolicy: string | null): Promise<Hosted> {
  const server = createServer((request, response) => {
    const asked = join(folder, decodeURIComponent(new URL(request.url ?? "", "http://x").pathname));
    try {
      const file = statSync(asked).isDirectory() ? join(asked, "index.html") : asked;
      const bytes = readFileSync(file);
      const type = types[extname(file)] ?? "application/octet-stream";
      const policy = contentPolicy === null ? {} : { "content-security-policy": contentPolicy };
      response.writeHead(200, { "content-type": type, ...policy, ...isolation });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${port}`, close };
}

/** The text that the page writes when `folder` is served. */
export async function hostedText(browser: Browser, folder: string, app: AppPage = {}): Promise<string> {
  const { contentPolicy = strictPolicy, path = "/" } = app;
  const { url, close } = await hostFolder(folder, contentPolicy);
  try {
    return await textAt(browser, url + path, app);
  } finally {
    close();
  }
}

/** The text on a page: of an example after its button was pressed, of others when they are done. */
export async function textAt(
  browser: Browser,
  url: string,
  { isExample = false }: Pick<AppPage, "isExample"> = {},
): Promise<string> {
  const { page, problems } = await openPage(browser);
  const stateEndsIn = (ending: string) =>
    page.waitForFunction(
      (wanted) => document.getElementById("state")?.textContent?.endsWith(wanted),
      {},
      ending,
    );
  try {
    await page.goto(url);
    if (isExample) {
      await stateEndsIn(" on wasm");
      await page.click("#ask button");
      await stateEndsIn(" tokens/s");
    } else await page.waitForFunction(() => document.getElementById("text")?.dataset.done === "wasm");
    expect(problems).toEqual([]);
    return await page.$eval("#text", (each) => each.textContent ?? "");
  } catch (error) {
    throw new Error(`${String(error)}; the page said: ${problems.join("; ")}`);
  } finally {
    await page.close();
  }
}

/** What examples of this repository write when their button is pressed. */
export const asked = { prompt: "Once upon a time", options: { maxTokens: 24, seed: 1 } };
