/** The monitor page in a real browser, against the real process. Needs Debian's chromium. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

const chromium = "/usr/bin/chromium";
const isMissing = !existsSync(chromium);
if (isMissing && process.env.BITNET_REQUIRE_ALL === "1") throw new Error(`${chromium} is missing`);
/** Set it to a folder to look at the page. */
const pictures = process.env.BITNET_SCREENSHOTS;

let server: ServerProcess;
let browser: Browser;
let page: Page;
const problems: string[] = [];

beforeAll(async () => {
  if (isMissing) return;
  server = await startServerProcess(["--monitor-interval", "1", "--alert", "memory=1"]);
  browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
  page = await browser.newPage();
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  await page.setViewport({ width: 1200, height: 900 });
});
afterAll(async () => {
  await browser?.close();
  await server?.end();
});

async function picture(name: string): Promise<void> {
  if (pictures === undefined) return;
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
}

const generate = async (n: number) => {
  const body = { prompt: "Hello there, all of you", max_tokens: 60, ignore_eos: true };
  await Promise.all(
    Array.from({ length: n }, async () => (await server.post("/v1/completions", body)).json()),
  );
};
const tile = (name: string) =>
  page.$$eval(
    "#tiles div",
    (all, wanted) =>
      all.find((each) => each.querySelector("dt")?.textContent === wanted)?.querySelector("dd")
        ?.textContent ?? null,
    name,
  );
/** Whether the chart of a title shows a line. */
const isDrawn = (title: string) =>
  page.$$eval(
    "#charts figure",
    (all, wanted) => {
      const found = all.find((each) => each.querySelector("figcaption")?.textContent?.startsWith(wanted));
      return (found?.querySelector("path:not(.area)")?.getAttribute("d") ?? "") !== "";
    },
    title,
  );

test.skipIf(isMissing)("shows what the server does, as it does it", async () => {
  await page.goto(`${server.url}/monitor`, { waitUntil: "networkidle0" });
  await page.waitForSelector("#tiles div");
  expect(await tile("Requests")).toBe("0");
  await generate(6);
  await page.waitForFunction(() =>
    [...document.querySelectorAll("#tiles div")].some((each) => each.textContent === "Requests6"),
  );
  expect(await tile("Tokens")).toBe("360");
  expect(await tile("Model")).toBe("tiny");
  for (const title of ["Tokens a second", "Memory", "Time of a request"])
    expect([title, await isDrawn(title)]).toEqual([title, true]);
  await page.waitForSelector("#alerts li.active");
  expect(await page.$eval("#alerts li", (item) => item.textContent)).toMatch(
    /memory is \d+ MiB, above 1 MiB/,
  );
  await picture("monitor-live");
});

test.skipIf(isMissing)("shows the history, dark, on a telephone", async () => {
  await generate(2);
  await page.click('#range button[data-hours="1"]');
  await page.waitForFunction(
    () => (document.querySelector("#charts path:not(.area)")?.getAttribute("d") ?? "").split("L").length > 3,
  );
  await page.click("#theme");
  await picture("monitor-hour");
  await page.setViewport({ width: 390, height: 780, isMobile: true });
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  await picture("monitor-phone");
});

test.skipIf(isMissing)("every control has a name, and nothing went wrong behind the page", async () => {
  const nameless = await page.$$eval("button, input, svg", (all) =>
    all
      .filter(
        (each) => !(each.ariaLabel || each.textContent?.trim() || (each as HTMLInputElement).labels?.length),
      )
      .map((each) => each.outerHTML),
  );
  expect(nameless).toEqual([]);
  expect(problems).toEqual([]);
});
