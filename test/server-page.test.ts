/** The chat page in a real browser, against the real process. Needs Debian's chromium. */
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
  server = await startServerProcess();
  browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
  page = await browser.newPage();
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  await page.setViewport({ width: 1100, height: 750 });
  await page.goto(server.url, { waitUntil: "networkidle0" });
});
afterAll(async () => {
  await browser?.close();
  await server?.end();
});

async function picture(name: string): Promise<void> {
  if (pictures === undefined) return;
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: `${pictures}/${name}.png` });
}

const texts = (selector: string) => page.$$eval(selector, (all) => all.map((each) => each.textContent ?? ""));
const isDone = () =>
  page.waitForFunction(
    () =>
      document.getElementById("stop")?.hidden === true &&
      document.querySelectorAll("article.assistant").length > 0,
  );
const ask = async (question: string) => {
  await page.type("#text", question);
  await page.keyboard.press("Enter");
};
const set = (id: string, value: string) =>
  page.$eval(
    `#${id}`,
    (input, given) => {
      (input as HTMLInputElement).value = given;
    },
    value,
  );
const press = (label: string) =>
  page.$$eval(
    "article .tools button",
    (all, wanted) => all.findLast((each) => each.textContent === wanted)?.click(),
    label,
  );

test.skipIf(isMissing)("a question, its answer, another answer, an edit", async () => {
  expect(await page.$eval("#model", (title) => title.textContent)).toBe("tiny");
  await set("max_tokens", "30");
  await ask("Hello, <b>world</b>");
  await isDone();
  expect(await texts("article.user .body")).toEqual(["Hello, <b>world</b>"]);
  const [first] = await texts("article.assistant .body");
  expect(first).not.toBe("");
  expect((await texts("article.assistant .tools"))[0]).toMatch(/30 tokens, [\d.]+ tokens\/s/);
  await set("seed", "5");
  await press("Regenerate");
  await isDone();
  const [second] = await texts("article.assistant .body");
  await press("Regenerate");
  await isDone();
  expect(await texts("article.assistant .body")).toEqual([second]);
  await picture("wide");
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
  await isDone();
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
  await isDone();
  expect((await texts("article.assistant .body"))[0]?.startsWith("{")).toBe(true);
  await picture("settings");
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
  await picture("phone-list");
  await page.$$eval("#list li button:first-child", (all) =>
    all.find((each) => each.textContent === "Go on")?.click(),
  );
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  const before = await theme();
  await page.click("#theme");
  expect(await theme()).not.toBe(before);
  expect(await texts("article.user .body")).toEqual(["Go on"]);
  await picture("phone");
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
