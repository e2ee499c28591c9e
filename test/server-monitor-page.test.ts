/** The monitor page in a real browser, against the real process. Needs Debian's chromium. */
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ServerProcess, startServerProcess } from "./server-process.ts";
import { isBrowserMissing, openPage, picture, startBrowser } from "./web-page.ts";

const isMissing = isBrowserMissing();
let server: ServerProcess;
let browser: Browser;
let page: Page;
let problems: string[];

beforeAll(async () => {
  if (isMissing) return;
  server = await startServerProcess(["--monitor-interval", "1", "--alert", "memory=1"]);
  browser = await startBrowser();
  ({ page, problems } = await openPage(browser));
  await page.setViewport({ width: 1200, height: 900 });
});
afterAll(async () => {
  await browser?.close();
  await server?.end();
});

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
  await picture(page, "monitor-live");
});

test.skipIf(isMissing)("a value that stands alone is seen, the newest at the right side too", async () => {
  const lines = await page.evaluate(`(async () => {
    const { Chart } = await import("/page/chart.js");
    const chart = new Chart({ title: "x", format: String, atLeast: 1 });
    return [0, 50, 100].map((time) => {
      chart.draw([{ time, value: 1 }], 0, 100);
      return chart.element.querySelector("path:not(.area)").getAttribute("d");
    });
  })()`);
  expect(lines).toEqual(["M0.0,1.0h5", "M195.0,1.0h5", "M395.0,1.0h5"]);
});

test.skipIf(isMissing)("shows the history, dark, on a telephone", async () => {
  await generate(2);
  await page.click('#range button[data-hours="1"]');
  await page.waitForFunction(
    () => (document.querySelector("#charts path:not(.area)")?.getAttribute("d") ?? "").split("L").length > 3,
  );
  await page.click("#theme");
  await picture(page, "monitor-hour");
  await page.setViewport({ width: 390, height: 780, isMobile: true });
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  await picture(page, "monitor-phone");
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
