/**
 * The WebAssembly backend in a real browser: the bits of the reference and the golden ids, with threads on an isolated page and without on any
 * other. Needs Debian's chromium; Debian's firefox-esr is taken along where it is installed.
 */
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { residentBytes } from "./resident-memory.ts";
import { golden } from "./tiny-model.ts";
import type { Found } from "./wasm-browser-page.ts";
import { browserNames, isBrowserMissing, startBrowser } from "./web-page.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

const imports = {
  "@bitnet.ts/core": "/packages/core/dist/index.js",
  "@bitnet.ts/core/conformance": "/packages/core/dist/backend/conformance/index.js",
  "@bitnet.ts/wasm": "/packages/wasm/dist/index.js",
  "#host": "/packages/wasm/dist/platform.js",
};
const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="importmap">${JSON.stringify({ imports })}</script>`;
const types: Readonly<Record<string, string>> = {
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".gguf": "application/octet-stream",
};

/** What a page that may share memory is served with; workers need the second one, too. */
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
/** All that a page needs, and no more: no `unsafe-eval`. */
const policy = "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; img-src data:";

let server: Server;
let origin = "";

beforeAll(async () => {
  server = createServer(async ({ url = "/" }, response) => {
    const isIsolated = url.startsWith("/isolated");
    if (isIsolated || url === "/plain") {
      response.writeHead(200, {
        "Content-Type": "text/html",
        "Content-Security-Policy": policy,
        ...(isIsolated ? isolation : {}),
      });
      response.end(page);
      return;
    }
    try {
      const bytes = await readFile(join(root, url));
      response.writeHead(200, { "Content-Type": types[extname(url)] ?? "text/plain", ...isolation });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => server.close());

const nTokens = 12;
/** Until the golden margin says that another order of summation might choose another token. */
const prompts = golden.prompts.map(({ ids, greedy_ids, greedy_margins }) => {
  const unsure = greedy_margins.slice(0, nTokens).findIndex((margin) => margin < 0.05);
  return { ids, expected: greedy_ids.slice(0, unsure < 0 ? nTokens : unsure) };
});

describe.each(browserNames)("%s", (name) => {
  const isMissing = isBrowserMissing(name);
  let browser: Browser;

  beforeAll(async () => {
    if (isMissing) return;
    browser = await startBrowser(name);
  }, 150_000);

  afterAll(() => browser?.close());

  test.skipIf(isMissing).each([
    ["isolated", 2],
    ["plain", 1],
  ] as const)(
    "the page %s runs with %i threads, gives the reference's bits and the golden ids",
    async (path, threads) => {
      const tab = await browser.newPage();
      const problems: string[] = [];
      tab.on("pageerror", (error) => problems.push(String(error)));
      tab.on("console", (message) => {
        if (message.type() === "error") problems.push(message.text());
      });
      await tab.goto(`${origin}/${path}`);
      const asked = JSON.stringify(prompts.map(({ ids }) => ids));
      const found = await tab.evaluate(
        `import("/build/test/wasm-browser-page.js").then(({ examine }) => examine(${asked}, ${nTokens}))`,
      );
      const { isIsolated, failures, nCases, ids, ...backend } = found as Found;
      expect(backend).toMatchObject({ threads, isa: expect.stringMatching(/^wasm-/) });
      expect(isIsolated).toBe(threads === 2);
      expect(failures).toEqual([]);
      expect(nCases).toBeGreaterThan(100);
      for (const [i, { expected }] of prompts.entries())
        expect(ids[i]?.slice(0, expected.length)).toEqual(expected);
      expect(prompts.some(({ expected }) => expected.length > 4)).toBe(true);
      if (path === "isolated") expect(await grownBy(tab, 8, 4)).toBeLessThan(4);
      expect(problems).toEqual([]);
      await tab.close();
    },
    240_000,
  );

  /**
   * How many times the bytes of a program the browser has more after so many were loaded and let go. Threads end and collectors run when
   * they like: what is more than `allowed` is looked at again after another load, which adds to what really stays.
   */
  async function grownBy(tab: Page, times: number, allowed: number): Promise<number> {
    const pid = browser.process()?.pid ?? 0;
    const load = (n: number) =>
      tab.evaluate(
        `import("/build/test/wasm-browser-page.js").then((page) => page.loadOften(${n}).then(() => page.tableBytes))`,
      );
    await load(2);
    const before = residentBytes(pid);
    const bytes = Number(await load(times));
    const grown = () => (residentBytes(pid) - before) / bytes;
    for (let again = 0; again < 8 && grown() >= allowed; again++) await load(1);
    return grown();
  }
});
