/** A browser for tests of pages: Debian's chromium, what went wrong on a page, and pictures of it. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import puppeteer, { type Browser, type Page } from "puppeteer-core";

const chromium = "/usr/bin/chromium";

/** True where there is no browser; an error where there must be one. */
export function isBrowserMissing(): boolean {
  const isMissing = !existsSync(chromium);
  if (isMissing && process.env.BITNET_REQUIRE_ALL === "1") throw new Error(`${chromium} is missing`);
  return isMissing;
}

export function startBrowser(): Promise<Browser> {
  return puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
}

export interface WatchedPage {
  page: Page;
  /** Errors of scripts and of the console, on the page and in its workers. */
  problems: string[];
}

export async function openPage(browser: Browser): Promise<WatchedPage> {
  const page = await browser.newPage();
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warn") problems.push(message.text());
  });
  return { page, problems };
}

/** Set BITNET_SCREENSHOTS to a folder to look at the pages. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.BITNET_SCREENSHOTS;
  if (folder === undefined) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: `${folder}/${name}.png` });
}
