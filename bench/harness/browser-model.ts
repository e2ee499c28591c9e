/**
 * A model on a page of Debian's Chromium or Firefox, isolated as a page with threads is: the library's, or that of another one in WebAssembly. The page, its
 * scripts and the model come from this process on loopback.
 */
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "esbuild";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { repository } from "./models.ts";

const paths = { chromium: "/usr/bin/chromium", firefox: "/usr/bin/firefox-esr" } as const;
export type BrowserName = keyof typeof paths;

export const browsers = (Object.keys(paths) as BrowserName[]).filter((name) => existsSync(paths[name]));

/** What a page's script is to put on `globalThis` (bench/pages). */
export interface PageEngine {
  load(options: PageOptions): Promise<{ isa: string; threads: number; loadMs: number }>;
  run(prompt: number[], nGen: number): Promise<PageRates>;
}
interface PageOptions {
  threads: number;
  contextLength: number;
}
export interface PageRates {
  promptTokensPerSecond: number;
  decodeTokensPerSecond: number;
}

export interface BrowserModelOptions extends PageOptions {
  /** What `/model.gguf` is. */
  model: string;
  /** Of bench/pages. */
  script: "own" | "wllama" | "transformers";
  /** Further folders that the page may read, by the first part of the address. */
  folders?: Readonly<Record<string, string>>;
}

const html = '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>';
const types: Readonly<Record<string, string>> = {
  js: "text/javascript",
  mjs: "text/javascript",
  wasm: "application/wasm",
  html: "text/html",
  json: "application/json",
};

export class BrowserModel {
  readonly info: Awaited<ReturnType<PageEngine["load"]>>;
  readonly #browser: Browser;
  readonly #page: Page;
  readonly #server: Server;

  private constructor(browser: Browser, page: Page, server: Server, info: BrowserModel["info"]) {
    this.#browser = browser;
    this.#page = page;
    this.#server = server;
    this.info = info;
  }

  /** @throws Error when the browser does not start or the page cannot load the model. */
  static async start(name: BrowserName, options: BrowserModelOptions): Promise<BrowserModel> {
    const server = await serve(options);
    const { port } = server.address() as AddressInfo;
    const browser = await puppeteer.launch({
      browser: name === "chromium" ? "chrome" : "firefox",
      executablePath: paths[name],
      args: name === "chromium" ? ["--no-sandbox", "--disable-gpu"] : [],
      timeout: 120_000,
      protocolTimeout: 1_200_000,
    });
    try {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${port}/`);
      await page.waitForFunction(() => "load" in globalThis);
      const { threads, contextLength } = options;
      const info = await page.evaluate((given) => (globalThis as unknown as PageEngine).load(given), {
        threads,
        contextLength,
      });
      return new BrowserModel(browser, page, server, info);
    } catch (error) {
      await browser.close();
      server.close();
      throw error;
    }
  }

  run(prompt: readonly number[], nGen: number): Promise<PageRates> {
    return this.#page.evaluate(
      (ids, n) => (globalThis as unknown as PageEngine).run(ids, n),
      [...prompt],
      nGen,
    );
  }

  get pid(): number {
    return this.#browser.process()?.pid ?? 0;
  }

  async close(): Promise<void> {
    await this.#browser.close();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

async function serve({ model, script, folders = {} }: BrowserModelOptions): Promise<Server> {
  const { outputFiles } = await build({
    entryPoints: [join(repository, "bench", "pages", `${script}.js`)],
    ...{ bundle: true, format: "esm", write: false, logLevel: "error" },
    external: ["/wllama/*", "/transformers/*"],
  });
  const page = outputFiles[0]?.contents ?? new Uint8Array();
  const roots = { worker: join(repository, "packages", "bitnet.ts", "worker"), ...folders };
  const server = createServer(({ url = "/", headers }, response) => {
    response.setHeader("cross-origin-opener-policy", "same-origin");
    response.setHeader("cross-origin-embedder-policy", "require-corp");
    const type = types[/\.(\w+)$/.exec(url)?.[1] ?? ""] ?? "application/octet-stream";
    response.setHeader("content-type", url === "/" ? "text/html" : type);
    if (url === "/") return response.end(html);
    if (url === "/page.js") return response.end(page);
    const [, first = "", rest = ""] = /^\/([\w-]+)\/([\w./-]+)$/.exec(url) ?? [];
    const root = (roots as Readonly<Record<string, string>>)[first];
    const path = url === "/model.gguf" ? model : root === undefined ? null : join(root, rest);
    if (path === null || !existsSync(path)) return response.writeHead(404).end();
    const { size } = statSync(path);
    const [, from = "0", to = ""] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "") ?? [];
    const [start, end] = [Number(from), to === "" ? size - 1 : Number(to)];
    response.writeHead(headers.range === undefined ? 200 : 206, {
      "content-length": end - start + 1,
      ...(headers.range === undefined ? {} : { "content-range": `bytes ${start}-${end}/${size}` }),
    });
    return createReadStream(path, { start, end }).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
