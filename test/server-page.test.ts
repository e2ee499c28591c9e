/** The chat page in a real browser, against the real process. Needs Debian's chromium. */
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { personAt } from "./chat-page.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";
import { isBrowserMissing, openPage, picture, startBrowser } from "./web-page.ts";

const isMissing = isBrowserMissing();
let server: ServerProcess;
let browser: Browser;
let page: Page;
let problems: string[];

beforeAll(async () => {
  if (isMissing) return;
  server = await startServerProcess();
  browser = await startBrowser();
  ({ page, problems } = await openPage(browser));
  await page.setViewport({ width: 1100, height: 750 });
  await page.goto(server.url, { waitUntil: "networkidle0" });
});
afterAll(async () => {
  await browser?.close();
  await server?.end();
});

const { texts, ask, set, press, isAnswered } = personAt(() => page);

test.skipIf(isMissing)("a question, its answer, another answer, an edit", async () => {
  expect(await page.$eval("#model", (title) => title.textContent)).toBe("tiny");
  await set("max_tokens", "30");
  await ask("Hello, <b>world</b>");
  await isAnswered();
  expect(await texts("article.user .body")).toEqual(["Hello, <b>world</b>"]);
  const [first] = await texts("article.assistant .body");
  expect(first).not.toBe("");
  expect((await texts("article.assistant .tools"))[0]).toMatch(/30 tokens, [\d.]+ tokens\/s/);
  await set("seed", "5");
  await press("Regenerate");
  await isAnswered();
  const [second] = await texts("article.assistant .body");
  await press("Regenerate");
  await isAnswered();
  expect(await texts("article.assistant .body")).toEqual([second]);
  await picture(page, "wide");
  await press("Edit");
  expect(await page.$eval("#text", (field) => (field as HTMLTextAreaElement).value)).toBe(
    "Hello, <b>world</b>",
  );
  expect(await texts("article")).toEqual([]);
});

test.skipIf(isMissing)("stopping keeps what there is, and the server stops as well", async () => {
  await page.$eval("#text", (field) => {
    (field as HTMLTextAreaElement).value = "";
  });
  await set("max_tokens", "100000");
  await ask("Go on");
  await page.waitForFunction(
    () => (document.querySelector("article.assistant .body")?.textContent ?? "").length > 0,
  );
  await page.keyboard.press("Escape");
  await isAnswered();
  const running = async () =>
    ((await (await server.get("/stats")).json()) as { requests: { running: number } }).requests.running;
  while ((await running()) > 0) await new Promise((resolve) => setImmediate(resolve));
  expect((await texts("article.assistant .body"))[0]).not.toBe("");
});

test.skipIf(isMissing)("settings reach the server; JSON is JSON", async () => {
  await page.click("#new");
  await page.click("#tune");
  await set("max_tokens", "60");
  await set("seed", "1");
  await page.click("#json");
  await ask("Say it");
  await isAnswered();
  expect((await texts("article.assistant .body"))[0]?.startsWith("{")).toBe(true);
  await picture(page, "settings");
  await page.click("#json");
  await set("temperature", "-5");
  await press("Regenerate");
  await page.waitForFunction(() => document.getElementById("state")?.textContent?.includes("temperature"));
  await set("temperature", "0.7");
  await page.click("#tune");
});

test.skipIf(isMissing)("conversations are kept, on a telephone too, dark and light", async () => {
  await page.setViewport({ width: 390, height: 780, isMobile: true });
  await page.reload({ waitUntil: "networkidle0" });
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  await page.click("#menu");
  const titles = await texts("#list li button:first-child");
  expect(titles).toContain("Say it");
  await picture(page, "phone-list");
  await page.$$eval("#list li button:first-child", (all) =>
    all.find((each) => each.textContent === "Go on")?.click(),
  );
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  const before = await theme();
  await page.click("#theme");
  expect(await theme()).not.toBe(before);
  expect(await texts("article.user .body")).toEqual(["Go on"]);
  await picture(page, "phone");
  await page.click("#menu");
  await page.$$eval("#list li button:last-child", (all) => {
    for (const each of all) each.click();
  });
  expect((await texts("#list li button:first-child")).length).toBe(1);
});

test.skipIf(isMissing)("every control has a name, and nothing went wrong behind the page", async () => {
  const nameless = await page.$$eval("button, input, textarea", (all) =>
    all
      .filter(
        (each) => !(each.ariaLabel || each.textContent?.trim() || (each as HTMLInputElement).labels?.length),
      )
      .map((each) => each.outerHTML),
  );
  expect(nameless).toEqual([]);
  // The refused temperature is the one error that the browser notes.
  expect(problems.filter((text) => !text.includes("400"))).toEqual([]);
  const policy = (await fetch(server.url, { headers: { accept: "text/html" } })).headers.get(
    "content-security-policy",
  );
  expect(policy).toContain("default-src 'none'");
});
