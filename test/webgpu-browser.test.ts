/** The WebGPU backend in Debian's chromium on its software adapter: within the bounds of every operation, and the golden ids. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "puppeteer-core";
import { expect, test } from "vitest";
import { golden } from "./tiny-model.ts";
import type { Found } from "./webgpu-browser-page.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const chromium = "/usr/bin/chromium";
const isMissing = !existsSync(chromium) && process.env.BITNET_REQUIRE_ALL !== "1";

const imports = {
  "@bitnet.ts/core": "/packages/core/dist/index.js",
  "@bitnet.ts/core/conformance": "/packages/core/dist/backend/conformance/index.js",
  "@bitnet.ts/webgpu": "/packages/webgpu/dist/index.js",
  "#gpu": "/packages/webgpu/dist/platform.js",
};
const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="importmap">${JSON.stringify({ imports })}</script>`;

const nTokens = 4;

test.skipIf(isMissing)(
  "a page computes within the bounds and finds the golden ids",
  async () => {
    const server = createServer(async ({ url = "/" }, response) => {
      const bytes = url === "/" ? page : await readFile(join(root, url)).catch(() => null);
      if (bytes === null) response.writeHead(404).end();
      else {
        const type = url === "/" ? "text/html" : extname(url) === ".js" ? "text/javascript" : "text/plain";
        response.writeHead(200, { "Content-Type": type }).end(bytes);
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const browser = await launch({
      executablePath: chromium,
      protocolTimeout: 280_000,
      args: ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
    });
    try {
      const tab = await browser.newPage();
      await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      const [prompt] = golden.prompts;
      if (prompt === undefined) throw new Error("no golden prompt");
      const found = (await tab.evaluate(
        `import("/build/test/webgpu-browser-page.js").then(({ examine }) => examine(${JSON.stringify(prompt.ids)}, ${nTokens}))`,
      )) as Found;
      expect(found.failures).toEqual([]);
      expect(found.nCases).toBeGreaterThan(8);
      expect(found.adapter).toMatch(/\w/);
      expect(found.ids).toEqual(prompt.greedy_ids.slice(0, nTokens));
    } finally {
      await browser.close();
      server.close();
    }
  },
  300_000,
);
