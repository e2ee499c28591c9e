/** The chat page that runs its model in the browser, in real ones. Needs Debian's chromium and firefox-esr, and the built page. */
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { siteFolder, startWebServer, type WebServer } from "@bitnet.ts/web";
import { BitNet } from "bitnet.ts";
import type { Browser, ElementHandle, Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, test as everyTest, expect } from "vitest";
import { personAt } from "./chat-page.ts";
import { type HubServer, startHub } from "./hub-server.ts";
import { tinyModel } from "./packed-project.ts";
import { browserNames, isBrowserMissing, openPage, picture, startBrowser } from "./web-page.ts";

/** Kilobytes that Firefox has for all sites, of which one gets a fifth: little enough to be filled. */
const preferences = { "dom.quotaManager.temporaryStorage.fixedLimit": 400_000 };

describe.each(browserNames)("the chat page in %s", (name) => {
  const isMissing = isBrowserMissing(name);
  let server: WebServer;
  let hub: HubServer;
  let browser: Browser;
  let page: Page;
  let problems: string[];

  const textOf = (selector: string) => page.$eval(selector, (each) => each.textContent ?? "");
  const { texts, ask, set, press, isAnswered } = personAt(() => page);
  const isLoaded = (model: string) =>
    page.waitForFunction(
      (wanted) =>
        document.getElementById("model")?.textContent === wanted &&
        document.getElementById("loading")?.hidden === true &&
        document.getElementById("about")?.textContent?.startsWith(wanted),
      {},
      model,
    );
  /** From within the page, since a whole answer may take less time than it takes to look at the page from here. */
  const stopAtFirstPiece = () =>
    page.evaluate(() => {
      const observer = new MutationObserver(() => {
        const { hidden } = document.getElementById("stop") as HTMLElement;
        if (hidden || (document.querySelector("article.assistant .body")?.textContent ?? "") === "") return;
        observer.disconnect();
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
      });
      observer.observe(document.getElementById("log") as HTMLElement, {
        childList: true,
        subtree: true,
        characterData: true,
      });
    });
  const isVisible = (selector: string) => page.waitForSelector(selector, { visible: true });
  const shot = (what: string) => picture(page, `web-${name}-${what}`);

  /** What a test does while the browser has no room for another model. */
  async function withoutRoom(work: () => Promise<void>): Promise<void> {
    if (name === "chrome") {
      const session = await page.createCDPSession();
      const origin = new URL(page.url()).origin;
      await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1_000_000 });
      await work();
      await session.send("Storage.overrideQuotaForOrigin", { origin });
      await session.detach();
      return;
    }
    await page.evaluate(async () => {
      const { quota = 0, usage = 0 } = await navigator.storage.estimate();
      const folder = await navigator.storage.getDirectory();
      const out = await (await folder.getFileHandle("filler", { create: true })).createWritable();
      await out.truncate(quota - usage - 10_000_000);
      await out.close();
    });
    await work();
    await page.evaluate(async () => (await navigator.storage.getDirectory()).removeEntry("filler"));
  }

  beforeAll(async () => {
    if (isMissing) return;
    hub = await startHub({ "tiny.gguf": { bytes: readFileSync(tinyModel), isLarge: true } });
    hub.misbehave = (_request, response) => {
      response.setHeader("access-control-allow-origin", "*");
      response.setHeader("access-control-expose-headers", "etag, content-range, x-error-code");
      return false;
    };
    server = await startWebServer({ port: 0, hub: hub.endpoint });
    browser = await startBrowser(name, { preferences });
    ({ page, problems } = await openPage(browser));
    await page.setViewport({ width: 1100, height: 750 });
  }, 150_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await hub?.close();
  });

  const test = everyTest.skipIf(isMissing);

  test("asks for a model, and is isolated", async () => {
    await page.goto(server.url, { waitUntil: "networkidle0" });
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    expect(await page.$eval("#models", (panel) => (panel as HTMLElement).hidden)).toBe(false);
    await shot("choose");
  });

  test("the tiny model answers as it does in Node", async () => {
    await page.click("#pick-tiny");
    await isLoaded("tiny");
    expect(await textOf("#about")).toMatch(/^tiny: wasm, .+; webgpu: (no adapter|this browser offers no)/);
    await set("max_tokens", "24");
    await set("seed", "5");
    await ask("Tell me a story about a <b>world</b>");
    await isAnswered();
    const model = await BitNet.load(tinyModel);
    const { text } = await model.createChat().send("Tell me a story about a <b>world</b>", {
      ...{ maxTokens: 24, seed: 5, temperature: 0.7, topP: 0.9 },
      ...{ topK: 0, minP: 0, repeatPenalty: 1.05 },
    }).result;
    await model.dispose();
    expect(await texts("article.assistant .body")).toEqual([text]);
    expect(await textOf("article.assistant .tools")).toMatch(/24 tokens, [\d.]+ tokens\/s/);
    await shot("answer");
  });

  test("stops, regenerates, edits", async () => {
    await set("max_tokens", "2000");
    await set("seed", "");
    await stopAtFirstPiece();
    await press("Regenerate");
    await isAnswered();
    expect(await textOf("article.assistant .tools")).toMatch(/stopped$/);
    await set("max_tokens", "12");
    await set("seed", "7");
    await press("Regenerate");
    await isAnswered();
    const [first] = await texts("article.assistant .body");
    await press("Regenerate");
    await isAnswered();
    expect(await texts("article.assistant .body")).toEqual([first]);
    await press("Edit");
    expect(await page.$eval("#text", (field) => (field as HTMLTextAreaElement).value)).toMatch(/world/);
    await page.$eval("#text", (field) => {
      (field as HTMLTextAreaElement).value = "";
    });
  });

  test("a file of this device, and one that is no model", async () => {
    await page.click("#model");
    const input = (await page.$("#file")) as ElementHandle<HTMLInputElement>;
    await input.uploadFile(tinyModel);
    await isLoaded("tiny.gguf");
    await input.uploadFile(import.meta.filename);
    await page.waitForFunction(() => document.getElementById("state")?.textContent?.startsWith("Failed:"));
    expect(await textOf("#state")).toMatch(/GGUF/);
    expect(await textOf("#model")).toBe("Choose a model");
    await shot("failed");
  });

  test("a copy of the file, on wish, which the next visit opens by itself", async () => {
    const input = (await page.$("#file")) as ElementHandle<HTMLInputElement>;
    await input.uploadFile(tinyModel);
    await isLoaded("tiny.gguf");
    await page.click("#model");
    await isVisible("#keep-file");
    expect(await textOf("#keep-file")).toBe("Keep a copy of tiny.gguf in this browser, 2.3 MB");
    await shot("keep-file");
    await page.click("#keep-file");
    await page.waitForSelector("#kept li");
    await page.reload({ waitUntil: "networkidle0" });
    await isLoaded("tiny.gguf");
    await page.click("#model");
    await page.waitForSelector("#kept li");
    expect(await texts("#kept li button:first-child")).toEqual(["tiny.gguf, 2.3 MB"]);
    await page.click("#kept li button:last-child");
    await page.waitForFunction(() => document.querySelectorAll("#kept li").length === 0);
    await page.reload({ waitUntil: "networkidle0" });
    await page.waitForFunction(() => document.getElementById("state")?.textContent?.startsWith("Failed:"));
    expect(await textOf("#state")).toBe("Failed: tiny.gguf: is not kept in this browser");
  });

  everyTest.skipIf(isMissing || name === "firefox")(
    "a file by its handle, once more after the browser has asked",
    async () => {
      await page.evaluate(async () => {
        const folder = await navigator.storage.getDirectory();
        const handle = await folder.getFileHandle("mine.gguf", { create: true });
        const out = await handle.createWritable();
        await out.write(await (await fetch("./tiny.gguf")).blob());
        await out.close();
        Object.assign(globalThis, { showOpenFilePicker: async () => [handle] });
      });
      await page.click("#pick-file");
      await isLoaded("mine.gguf");
      await page.reload({ waitUntil: "networkidle0" });
      await isLoaded("mine.gguf");
      const asking = await page.evaluateOnNewDocument(() => {
        const prototype = FileSystemFileHandle.prototype as unknown as Record<string, unknown>;
        prototype.queryPermission = async () => "prompt";
        prototype.requestPermission = async () => "granted";
      });
      await page.reload({ waitUntil: "networkidle0" });
      await isVisible("#reopen");
      expect(await textOf("#reopen-name")).toBe("mine.gguf");
      await shot("reopen");
      await page.click("#reopen");
      await isLoaded("mine.gguf");
      await page.removeScriptToEvaluateOnNewDocument(asking.identifier);
      await page.click("#model");
    },
  );

  test("a model of the Hub, kept for the next visit", async () => {
    await page.type("#hub-name", "tests/tiny");
    await page.keyboard.press("Enter");
    await isLoaded("tests/tiny");
    const files = () => hub.seen.filter(({ path }) => path.includes("/resolve/")).length;
    expect(files()).toBe(1);
    await page.reload({ waitUntil: "networkidle0" });
    await isLoaded("tests/tiny");
    expect(files()).toBe(1);
    await set("max_tokens", "8");
    await ask("Once more");
    await isAnswered();
    await page.click("#model");
    await page.waitForFunction(() => document.querySelectorAll("#kept li").length === 1);
    expect(await texts("#kept li button:first-child")).toEqual(["tests/tiny, 2.3 MB"]);
    await shot("kept");
    await page.setViewport({ width: 390, height: 780, isMobile: name === "chrome" });
    await page.reload({ waitUntil: "networkidle0" });
    await isLoaded("tests/tiny");
    await page.click("#model");
    await page.waitForSelector("#kept li");
    await shot("phone-models");
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    await page.click("#theme");
    await page.click("#model");
    await page.click("#tune");
    await shot("phone-settings");
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    await page.click("#tune");
    await shot("phone-answer");
    await page.setViewport({ width: 1100, height: 750 });
    await page.reload({ waitUntil: "networkidle0" });
    await isLoaded("tests/tiny");
    await page.click("#model");
    await page.waitForSelector("#kept li");
    await page.click("#kept li button:last-child");
    await page.waitForFunction(() => document.querySelectorAll("#kept li").length === 0);
  });

  test("a name that the Hub does not have says so", async () => {
    await set("hub-name", "tests/none");
    await page.click("#hub button");
    await page.waitForFunction(() => document.getElementById("state")?.textContent?.startsWith("Failed:"));
    expect(await textOf("#state")).toMatch(/tests\/none: there is no such repository/);
  });

  test("without room for it, a model of the Hub is read each time, and the page says so", async () => {
    await withoutRoom(async () => {
      await set("hub-name", "tests/tiny");
      await page.click("#hub button");
      await isLoaded("tests/tiny");
      expect(await textOf("#state")).toMatch(/is not kept \(/);
      await page.click("#model");
      expect(await textOf("#kept")).not.toMatch(/tests\/tiny, 2\.3/);
    });
  });

  test("works without a network after the first visit", async () => {
    await page.click("#pick-tiny");
    await isLoaded("tiny");
    await server.close();
    await page.reload({ waitUntil: "load" });
    await isLoaded("tiny");
    await page.click("#new");
    await set("max_tokens", "8");
    await ask("Are you there?");
    await isAnswered();
    expect((await texts("article.assistant .body"))[0]).not.toBe("");
    await page.click("#list li:last-child button:first-child");
    expect((await texts("article.user .body")).at(-1)).toBe("Once more");
    await shot("offline");
  });

  describe("at a host that sends no headers", () => {
    let host: Server;
    let port = 0;
    beforeAll(async () => {
      const types: Record<string, string> = {
        ...{ html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" },
        ...{ webmanifest: "application/manifest+json", png: "image/png", gguf: "application/octet-stream" },
      };
      const folder = siteFolder();
      host = createServer((request, response) => {
        const name = (request.url ?? "").replace(/^\/chat\//, "") || "index.html";
        response.setHeader("content-type", types[name.replace(/^.*\./, "")] ?? "text/plain");
        response.end(readFileSync(`${folder}/${name}`));
      });
      await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
      ({ port } = host.address() as AddressInfo);
    });
    afterAll(() => {
      host.closeAllConnections();
      host.close();
    });

    /** What the page says of the tiny model, which answers. @param name Another one is another origin, which remembers nothing. */
    async function aboutTiny(
      name: string,

      isIsolated: boolean,
      prepare?: (other: Page) => Promise<unknown>,
    ): Promise<string> {
      const other = await openPage(browser);
      const person = personAt(() => other.page);
      try {
        await prepare?.(other.page);
        await other.page.goto(`http://${name}:${port}/chat/`);
        await other.page.waitForFunction((wanted) => crossOriginIsolated === wanted, {}, isIsolated);
        await other.page.waitForSelector("#pick-tiny", { visible: true });
        await other.page.click("#pick-tiny");
        await other.page.waitForFunction(() =>
          document.getElementById("about")?.textContent?.startsWith("tiny"),
        );
        await person.set("max_tokens", "4");
        await person.ask("Hi");
        await person.isAnswered();
        expect((await person.texts("article.assistant .body")).at(-1)).not.toBe("");
        expect(other.problems).toEqual([]);
        return await other.page.$eval("#about", (each) => each.textContent ?? "");
      } finally {
        await other.page.close();
      }
    }

    test("without a service worker one thread computes", async () => {
      // As in private windows of Firefox.
      const about = await aboutTiny("127.0.0.1", false, (other) =>
        other.evaluateOnNewDocument(() => {
          Reflect.deleteProperty(Navigator.prototype, "serviceWorker");
        }),
      );
      expect(about).toMatch(/^tiny: wasm, one thread/);
    });

    test("the service worker adds them", async () => {
      expect(await aboutTiny("localhost", true)).toMatch(/^tiny: wasm, /);
    });
  });

  test("every control has a name, and nothing went wrong behind the page", async () => {
    const nameless = await page.$$eval("button, input, textarea, progress", (all) =>
      all
        .filter(
          (each) =>
            !(each.ariaLabel || each.textContent?.trim() || (each as HTMLInputElement).labels?.length),
        )
        .map((each) => each.outerHTML),
    );
    expect(nameless).toEqual([]);
    expect(problems).toEqual([]);
  });
});
