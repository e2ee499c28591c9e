/**
 * The WebGPU backend on a page, in the worker, on Chromium's software adapter: it answers, a lost device is told with its code, the chat page
 * goes on without it, and without a GPU of its own the library takes WebAssembly. Needs the built package and Debian's chromium.
 */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { writeSite } from "@bitnet.ts/web";
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { personAt } from "./chat-page.ts";
import { hostFolder } from "./hosted-app.ts";
import { type LibraryPage, serveLibraryPage } from "./library-page.ts";
import { golden } from "./tiny-model.ts";
import { isBrowserMissing, openPage, startBrowser } from "./web-page.ts";

/** The last device of the worker can be destroyed on demand: the worker's script is what the package ships, and this. */
const losable = `
  import "/worker/worker.js";
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...given) {
    const device = await request.apply(this, given);
    new BroadcastChannel("lose").onmessage = () => device.destroy();
    return device;
  };
`;
/** An adapter that does not say that it computes in software: the library takes it by itself. */
const unsaid = `Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { value: false });`;
/** One that has room for the known answers, and for no model. */
const small = `
  Object.defineProperty(GPUSupportedLimits.prototype, "maxStorageBufferBindingSize", { value: 2 ** 16 });
`;
const script = `
  import { BitNet, backendReport } from "bitnet.ts";
  let model;
  globalThis.report = async () =>
    JSON.stringify(await backendReport({ worker: () => new Worker("/losable.js", { type: "module" }) }));
  globalThis.loadSmall = () => load({ worker: () => new Worker("/small.js", { type: "module" }) });
  globalThis.load = async (options) => {
    const notices = [];
    const worker = () => new Worker("/losable.js", { type: "module" });
    model = await BitNet.load("/tiny.gguf", { cache: false, worker, onNotice: (line) => notices.push(line), ...options });
    const { backend, isa, passedOver } = model.info;
    return JSON.stringify({ backend, isa, passedOver, notices });
  };
  globalThis.ask = (ids, maxTokens) =>
    model.generate(ids, { temperature: 0, repeatPenalty: 1, maxTokens }).result.then(
      (result) => JSON.stringify(result.ids), (error) => JSON.stringify([error.code, error.message]));
  globalThis.lose = () => new BroadcastChannel("lose").postMessage(0);
  globalThis.end = () => model.dispose();
`;

const scripts: Readonly<Record<string, string>> = {
  "/losable.js": losable,
  "/small.js": losable + unsaid + small,
};
const isMissing = isBrowserMissing();
const lavapipe = "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json";
let server: LibraryPage;
let browser: Browser;
let page: Page;
let problems: string[];

const run = async (code: string) => JSON.parse(String(await page.evaluate(code))) as unknown;

beforeAll(async () => {
  if (isMissing) return;
  const tiny = readFileSync(new URL("golden/tiny.gguf", import.meta.url));
  server = await serveLibraryPage(script, (request, response) => {
    if (request.url === "/tiny.gguf") response.end(tiny);
    else {
      const own = scripts[request.url ?? ""];
      if (own === undefined) return false;
      response.setHeader("content-type", "text/javascript");
      response.end(own);
    }
    return true;
  });
  browser = await startBrowser("chrome", { hasGpu: true });
  ({ page, problems } = await openPage(browser));
  await page.goto(server.url, { waitUntil: "networkidle0" });
}, 150_000);
afterAll(async () => {
  await browser?.close();
  server?.close();
});

describe.skipIf(isMissing)("WebGPU on a page", { timeout: 240_000 }, () => {
  test("gives the golden ids where the margin leaves no doubt", async () => {
    expect(await run(`load({ backend: "webgpu" })`)).toMatchObject({ backend: "webgpu", notices: [] });
    const { ids, greedy_ids, greedy_margins } = golden.prompts[0] as (typeof golden.prompts)[number];
    const unsure = greedy_margins.findIndex((margin) => margin < 0.05);
    const n = Math.min(4, unsure < 0 ? 4 : unsure);
    expect(n).toBeGreaterThan(0);
    expect(await run(`ask(${JSON.stringify(ids)}, ${n})`)).toEqual(greedy_ids.slice(0, n));
  });

  test("a device that is lost in the middle of a text fails it and what comes after, and says what to do", async () => {
    const lost = [
      "BACKEND_FAILED",
      expect.stringMatching(/the device was lost \(.+\); load the model again/),
    ];
    await page.evaluate("globalThis.running = ask([1, 2], 60); lose()");
    expect(await run("running")).toEqual(lost);
    expect(await run("ask([1, 2], 1)")).toEqual(lost);
    await page.evaluate("end()");
    expect(await run(`load({ backend: "webgpu" })`)).toMatchObject({ backend: "webgpu" });
    const [prompt] = golden.prompts;
    expect(await run(`ask(${JSON.stringify(prompt?.ids)}, 1)`)).toEqual(prompt?.greedy_ids.slice(0, 1));
    await page.evaluate("end()");
  });

  test("is not chosen by itself where it computes in software", async () => {
    const passedOver = [{ backend: "webgpu", reason: expect.stringMatching(/ computes in software$/) }];
    expect(await run("load({})")).toEqual({
      backend: "wasm",
      isa: expect.any(String),
      notices: [],
      passedOver,
    });
    await page.evaluate("end()");
  });

  test("a GPU without room for the model is passed over, and that is said", async () => {
    const reason = expect.stringMatching(/ takes \d+ MB, but .* binds at most 1 MB at once/);
    expect(await run("loadSmall()")).toMatchObject({
      backend: "wasm",
      passedOver: [{ backend: "webgpu", reason }],
      notices: [expect.stringMatching(/^bitnet: no WebGPU \(.* binds at most .*\); WebAssembly serves$/)],
    });
    await page.evaluate("end()");
  });

  test("the report says of each backend what became of it, as doctor does in Node", async () => {
    expect(await run("report()")).toMatchObject([
      {
        name: "webgpu",
        isAvailable: true,
        detail: expect.stringMatching(/\(in software: only when asked for by name\); buffers up to /),
        variants: [{ isa: "wgsl-dot4" }, { isa: "wgsl-plain" }],
      },
      {
        name: "wasm",
        isAvailable: true,
        variants: expect.arrayContaining([{ isa: "wasm-plain-exact", verdict: "usable", reason: "" }]),
      },
      { name: "reference" },
    ]);
  });

  test("the chat page goes on without a GPU that was lost", () => loseTheGpuOfAChat(browser));

  test("nothing went wrong behind the page", () => {
    expect(problems).toEqual([]);
  });
});

/** Firefox computes on Debian's lavapipe (mesa-vulkan-drivers), which it has behind preferences. */
test.skipIf(isBrowserMissing("firefox") || (!existsSync(lavapipe) && process.env.BITNET_REQUIRE_ALL !== "1"))(
  "the chat page in Firefox goes on without a GPU that was lost",
  async () => {
    const firefox = await startBrowser("firefox", {
      preferences: {
        ...{ "dom.webgpu.enabled": true, "dom.webgpu.workers.enabled": true },
        "gfx.webgpu.ignore-blocklist": true,
      },
    });
    try {
      await loseTheGpuOfAChat(firefox);
    } finally {
      await firefox.close();
    }
  },
  240_000,
);

async function loseTheGpuOfAChat(browser: Browser): Promise<void> {
  const folder = join(mkdtempSync(join(tmpdir(), "bitnet-site-")), "site");
  await writeSite(folder);
  renameSync(join(folder, "worker.js"), join(folder, "engine.js"));
  writeFileSync(join(folder, "worker.js"), losable.replace("/worker/worker.js", "./engine.js") + unsaid);
  const host = await hostFolder(folder, null);
  const chat = await openPage(browser);
  const { ask, set, texts, isAnswered } = personAt(() => chat.page);
  const loaded = async (backend: string) => {
    await chat.page.click("#pick-tiny");
    await chat.page.waitForFunction(
      (wanted) => document.getElementById("about")?.textContent?.startsWith(wanted),
      {},
      `tiny: ${backend}`,
    );
  };
  try {
    await chat.page.goto(host.url, { waitUntil: "networkidle0" });
    await loaded("webgpu");
    await set("max_tokens", "2");
    await ask("Hi");
    await isAnswered();
    await chat.page.evaluate(`new BroadcastChannel("lose").postMessage(0)`);
    await ask("Are you there?");
    await chat.page.waitForFunction(() => /lost/.test(document.getElementById("state")?.textContent ?? ""));
    await chat.page.click("#model");
    await loaded("wasm");
    await ask("And now?");
    await isAnswered();
    expect((await texts("article.assistant .body")).at(-1)).not.toBe("");
    expect(chat.problems).toEqual([]);
  } finally {
    await chat.page.close();
    host.close();
    rmSync(dirname(folder), { recursive: true, force: true });
  }
}
