/**
 * The library on a page of its own, bundled by esbuild, with the package's worker from a factory: what is kept in the browser's file system, resumed,
 * verified, replaced, and what happens without room. Needs Debian's chromium and the compiled packages.
 */
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { BitNet } from "bitnet.ts";
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type HubServer, randomBytes, sendRange, startHub } from "./hub-server.ts";
import { type LibraryPage, serveLibraryPage } from "./library-page.ts";
import { tinyModel } from "./packed-project.ts";
import { isBrowserMissing, openPage, startBrowser } from "./web-page.ts";

/** What the bundled page does with the library; runs in the browser. */
const pageScript = `
  import { BitNet } from "bitnet.ts";
  import { listKept, removeKept } from "bitnet.ts/cache";
  const worker = () => new Worker("/worker/worker.js", { type: "module" });
  globalThis.run = async (source, options = {}) => {
    const notices = [];
    let downloaded = null;
    const phases = [];
    const loading = BitNet.load(source, {
      ...options,
      ...(options.worker === false ? {} : { worker }),
      onNotice: (line) => notices.push(line),
      onDownload: ({ phase, doneBytes, totalBytes }) => {
        downloaded = [doneBytes, totalBytes];
        if (phases.at(-1) !== phase) phases.push(phase);
      },
    });
    let model;
    try {
      model = await loading;
    } catch (error) {
      return { code: error.code, message: error.message, notices, phases };
    }
    const text = await model.generate("The people", { maxTokens: 6, seed: 1 }).text;
    await model.dispose();
    return { text, notices, downloaded, phases };
  };
  globalThis.nStarted = 0;
  const counted = () => {
    nStarted++;
    return worker();
  };
  globalThis.wrong = (source, options) =>
    BitNet.load(source, options && { worker: counted, ...options }).then(
      () => "loaded", (error) => error.code + ": " + error.message);
  globalThis.kept = listKept;
  globalThis.remove = removeKept;
`;

interface Ran {
  text?: string;
  notices: string[];
  downloaded?: [number, number] | null;
  phases?: string[];
  code?: string;
  message?: string;
}
interface PageGlobals {
  run(source: string, options?: object): Promise<Ran>;
  wrong(source: string | undefined, options: object | null): Promise<string>;
  kept(): Promise<{ model: string; bytes: number; isComplete: boolean }[]>;
  remove(model: string): Promise<number>;
}

const isMissing = isBrowserMissing();
const bytes = readFileSync(tinyModel);
let expected: string;
let server: LibraryPage;
let url: string;
let hub: HubServer;
let browser: Browser;
let page: Page;
let problems: string[];
/** Of the requests for the model: what they asked for. */
let ranges: (string | undefined)[] = [];
let serveModel: (request: IncomingMessage, response: ServerResponse) => void;
let etag = '"one"';

/** Announces the whole file, sends half of it and ends as if that were all, so that the half surely arrives. */
const half = bytes.length >> 1;
const sendHalf = (response: ServerResponse) => {
  response.setHeader("etag", etag);
  response.writeHead(206, { "content-range": `bytes 0-${bytes.length - 1}/${bytes.length}` });
  response.end(bytes.subarray(0, half));
};

const ordinary = (request: IncomingMessage, response: ServerResponse) => {
  response.setHeader("etag", etag);
  sendRange(response, bytes, request.headers.range);
};

const run = (source: string, options: object = {}) =>
  page.evaluate((given, more) => (globalThis as unknown as PageGlobals).run(given, more), source, options);
const kept = () => page.evaluate(() => (globalThis as unknown as PageGlobals).kept());

beforeAll(async () => {
  if (isMissing) return;
  const model = await BitNet.load(tinyModel);
  expected = await model.generate("The people", { maxTokens: 6, seed: 1 }).text;
  await model.dispose();
  server = await serveLibraryPage(pageScript, (request, response) => {
    if (request.url !== "/model.gguf") return false;
    ranges.push(request.headers.range);
    serveModel(request, response);
    return true;
  });
  url = server.url;
  hub = await startHub({ "tiny.gguf": { bytes, isLarge: true } });
  browser = await startBrowser();
  ({ page, problems } = await openPage(browser));
  await page.goto(url, { waitUntil: "networkidle0" });
}, 120_000);
afterAll(async () => {
  await browser?.close();
  server?.close();
  await hub?.close();
});

describe.skipIf(isMissing)("models kept in the browser", () => {
  beforeEach(async () => {
    ranges = [];
    serveModel = ordinary;
    etag = '"one"';
    hub.misbehave = (_request, response) => {
      response.setHeader("access-control-allow-origin", "*");
      return false;
    };
    hub.seen.length = 0;
    await page.evaluate(async () => {
      const { kept, remove } = globalThis as unknown as PageGlobals;
      for (const { model } of await kept()) await remove(model);
    });
  });

  test("an address is downloaded once, whole and in one request", async () => {
    const all = [bytes.length, bytes.length];
    const phases = ["downloading", "verifying"];
    expect(await run("/model.gguf")).toEqual({ text: expected, notices: [], downloaded: all, phases });
    expect(ranges).toEqual(["bytes=0-"]);
    expect(await kept()).toMatchObject([
      { model: `${url}/model.gguf`, bytes: bytes.length, isComplete: true },
    ]);
    expect(await run(`${url}/model.gguf`)).toMatchObject({ text: expected });
    expect(ranges.slice(1)).toEqual(["bytes=0-0"]); // asks whether it is the same
  });

  test("a connection that breaks is taken up where it broke", async () => {
    serveModel = (request, response) =>
      ranges.length === 1 ? sendHalf(response) : ordinary(request, response);
    expect(await run("/model.gguf")).toMatchObject({ text: expected });
    expect(ranges).toEqual(["bytes=0-", `bytes=${half}-`]);
  });

  test("the next visit goes on with what a failed one has left", async () => {
    serveModel = (_request, response) =>
      ranges.length === 1 ? sendHalf(response) : void response.writeHead(403).end();
    expect(await run("/model.gguf")).toMatchObject({ code: "ACCESS_DENIED" });
    expect(await kept()).toMatchObject([{ bytes: half, isComplete: false }]);
    serveModel = ordinary;
    ranges = [];
    await page.reload({ waitUntil: "networkidle0" });
    expect(await run("/model.gguf")).toMatchObject({ text: expected });
    expect(ranges).toEqual([`bytes=${half}-`]);
  });

  test("a file that has changed on the server is downloaded anew", async () => {
    await run("/model.gguf");
    etag = '"two"';
    ranges = [];
    expect(await run("/model.gguf")).toMatchObject({ text: expected });
    expect(ranges).toEqual(["bytes=0-0", "bytes=0-"]);
    // The same while half of it is there.
    serveModel = (request, response) => {
      if (ranges.length !== 2) return ordinary(request, response);
      sendHalf(response);
      etag = '"four"';
    };
    etag = '"three"';
    ranges = [];
    expect(await run("/model.gguf")).toMatchObject({ text: expected });
    expect(ranges).toEqual(["bytes=0-0", "bytes=0-", `bytes=${half}-`, "bytes=0-"]);
  });

  test("servers without ranges, without a length, one that is gone, and one that has no such file", async () => {
    serveModel = (_request, response) => sendRange(response, bytes, undefined);
    expect(await run("/model.gguf")).toMatchObject({ text: expected });
    etag = '"of unknown length"';
    serveModel = (_request, response) => {
      response.setHeader("etag", etag);
      response.write(bytes.subarray(0, half));
      response.end(bytes.subarray(half));
    };
    expect(await run("/model.gguf")).toMatchObject({ text: expected, notices: [] });
    expect(await kept()).toMatchObject([{ bytes: bytes.length, isComplete: true }]);
    serveModel = (request) => request.socket.destroy();
    const alone = await run("/model.gguf");
    expect(alone).toMatchObject({ text: expected });
    expect(alone.notices).toEqual([expect.stringMatching(/the kept copy serves$/)]);
    serveModel = (_request, response) => response.writeHead(404).end();
    expect(await run("/model.gguf")).toMatchObject({
      code: "FILE_NOT_FOUND",
      message: `${url}/model.gguf: not found (404)`,
    });
  });

  test("without the room it is read by ranges, and says so", async () => {
    const session = await page.createCDPSession();
    const quota = (size?: number) =>
      session.send("Storage.overrideQuotaForOrigin", {
        origin: url,
        ...(size === undefined ? {} : { quotaSize: size }),
      });
    try {
      await quota(1_000_000);
      const ran = await run("/model.gguf");
      expect(ran).toMatchObject({ text: expected });
      expect(ran.notices).toEqual([expect.stringMatching(/is not kept \(its quota is used up/)]);
    } finally {
      await quota();
      await session.detach();
    }
    expect(await run("/model.gguf")).toMatchObject({ text: expected, notices: [] });
  });

  test("cache: false keeps nothing; the page itself can run the model", async () => {
    expect(await run("/model.gguf", { cache: false })).toMatchObject({ text: expected, notices: [] });
    expect(await kept()).toEqual([]);
    const here = await run("/model.gguf", { worker: false, backend: "wasm", wasmUrl: "/worker" });
    expect(here).toMatchObject({ text: expected });
    expect(here.notices).toEqual([expect.stringMatching(/keeps no files/)]);
  });

  test("wrong bytes from a hub are refused twice and not kept; the hub may be gone later", async () => {
    const place = { hub: { endpoint: hub.endpoint } };
    const file = hub.files.get("tiny.gguf");
    hub.files.set("tiny.gguf", { bytes, isLarge: true, promisedHash: "0".repeat(64) });
    expect(await run("hf:tests/tiny", place)).toMatchObject({ code: "IO_FAILED", message: /not those/ });
    expect(hub.seen.filter(({ path }) => path.includes("/resolve/")).length).toBe(2);
    expect(await kept()).toEqual([]);
    if (file) hub.files.set("tiny.gguf", file);
    expect(await run("hf:tests/tiny", place)).toMatchObject({ text: expected });
    expect(await kept()).toMatchObject([{ model: "hf:tests/tiny", isComplete: true }]);
    hub.misbehave = (request) => {
      request.socket.destroy();
      return true;
    };
    const alone = await run("hf:tests/tiny", place);
    expect(alone).toMatchObject({ text: expected });
    expect(alone.notices).toEqual([expect.stringMatching(/what is kept of tests\/tiny serves$/)]);
  });

  test("each file of several is downloaded, then verified", async () => {
    const several = await startHub({
      "m-00001-of-00002.gguf": { bytes: randomBytes(300_000, 1), isLarge: true },
      "m-00002-of-00002.gguf": { bytes: randomBytes(300_000, 2), isLarge: true },
    });
    several.misbehave = hub.misbehave;
    const ran = await run("hf:tests/tiny", { hub: { endpoint: several.endpoint } });
    await several.close();
    expect(ran).toMatchObject({ code: "FORMAT_INVALID" });
    expect(ran.phases).toEqual(["downloading", "verifying", "downloading", "verifying"]);
  });

  test("two tabs share one download", async () => {
    const [one, two] = await Promise.all([run("/model.gguf"), run("/model.gguf")]);
    expect([one?.text, two?.text]).toEqual([expected, expected]);
    expect(ranges.filter((range) => range === "bytes=0-").length).toBe(1);
    // The one that comes second says what it waits for, and is through when the other one is.
    expect([one?.phases, two?.phases].sort()).toEqual([
      ["downloading", "verifying"],
      ["waiting", "downloading"],
    ]);
  });

  test("what is wrong with a call is said before a worker is started for it, or anything downloaded", async () => {
    const wrong: [object, string][] = [
      [{ backend: "cuda" }, 'backend "cuda" does not exist; valid names: native, webgpu, wasm, reference'],
      [{ worker: 5 }, "worker: expected a function that starts a worker and returns it, or false"],
      [{ onProgress: 5 }, "onProgress: expected a function, found a number"],
    ];
    for (const [options, message] of wrong) {
      const ran = await page.evaluate(
        (given) => (globalThis as unknown as PageGlobals).wrong("/model.gguf", given),
        options,
      );
      expect(ran.split(": ").slice(1).join(": ")).toBe(message);
    }
    expect(await page.evaluate(() => (globalThis as unknown as PageGlobals).wrong(undefined, {}))).toMatch(
      /^INVALID_ARGUMENT: load: expected the path or URL of a model, .* found undefined$/,
    );
    expect(await page.evaluate(() => (globalThis as unknown as PageGlobals).wrong("/x.gguf", null))).toBe(
      "INVALID_ARGUMENT: load: expected an object of options, found null",
    );
    expect(await page.evaluate("nStarted")).toBe(1); // of the backend's name, which the engine knows
    expect(ranges).toEqual([]);
  });

  test("nothing went wrong behind the page", () => {
    expect(problems).toEqual([]);
  });
});
