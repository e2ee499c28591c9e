/** The chat page that runs its model in the browser, in a real one. Needs Debian's chromium and the built page. */
import { startWebServer, type WebServer } from "@bitnet.ts/web";
import { BitNet } from "bitnet.ts";
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tinyModel } from "./packed-project.ts";
import { isBrowserMissing, openPage, picture, startBrowser } from "./web-page.ts";

const isMissing = isBrowserMissing();
let server: WebServer;
let browser: Browser;
let page: Page;
let problems: string[];

const textOf = (selector: string) => page.$eval(selector, (each) => each.textContent ?? "");
const texts = (selector: string) => page.$$eval(selector, (all) => all.map((each) => each.textContent ?? ""));
const set = (id: string, value: string) =>
  page.$eval(
    `#${id}`,
    (input, given) => {
      (input as HTMLInputElement).value = given;
    },
    value,
  );
const isLoaded = (name: string) =>
  page.waitForFunction(
    (wanted) =>
      document.getElementById("model")?.textContent === wanted &&
      document.getElementById("loading")?.hidden === true &&
      document.getElementById("about")?.textContent?.startsWith(wanted),
    {},
    name,
  );
const isAnswered = () =>
  page.waitForFunction(
    () =>
      document.getElementById("stop")?.hidden === true &&
      document.querySelectorAll("article.assistant").length > 0,
  );
const ask = async (question: string) => {
  await page.type("#text", question);
  await page.keyboard.press("Enter");
};

beforeAll(async () => {
  if (isMissing) return;
  server = await startWebServer({ port: 0 });
  browser = await startBrowser();
  ({ page, problems } = await openPage(browser));
  await page.setViewport({ width: 1100, height: 750 });
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

describe.skipIf(isMissing)("the chat page in the browser", () => {
  test("asks for a model, and is isolated", async () => {
    await page.goto(server.url, { waitUntil: "networkidle0" });
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    expect(await page.$eval("#models", (panel) => (panel as HTMLElement).hidden)).toBe(false);
    await picture(page, "web-choose");
  });

  test("the tiny model answers as it does in Node", async () => {
    await page.click("#pick-tiny");
    await isLoaded("tiny");
    await set("max_tokens", "24");
    await set("seed", "5");
    await ask("Hello, <b>world</b>");
    await isAnswered();
    const model = await BitNet.load(tinyModel);
    const { text } = await model.createChat().send("Hello, <b>world</b>", {
      ...{ maxTokens: 24, seed: 5, temperature: 0.7, topP: 0.9 },
      ...{ topK: 0, minP: 0, repeatPenalty: 1.05 },
    }).result;
    await model.dispose();
    expect(await texts("article.assistant .body")).toEqual([text]);
    expect(await textOf("article.assistant .tools")).toMatch(/24 tokens, [\d.]+ tokens\/s/);
    await picture(page, "web-answer");
  });

  test("nothing went wrong behind the page", () => {
    expect(problems).toEqual([]);
  });
});
