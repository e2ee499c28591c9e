/** Browsers for tests of pages: Debian's chromium and firefox-esr, what went wrong on a page, and pictures of it. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import puppeteer, { type Browser, type Page } from "puppeteer-core";

const paths = { chrome: "/usr/bin/chromium", firefox: "/usr/bin/firefox-esr" } as const;
export type BrowserName = keyof typeof paths;
export const browserNames = ["chrome", "firefox"] as const;

/** True where there is no browser; an error where there must be one. */
export function isBrowserMissing(name: BrowserName = "chrome"): boolean {
  const isMissing = !existsSync(paths[name]);
  if (isMissing && process.env.BITNET_REQUIRE_ALL === "1") throw new Error(`${paths[name]} is missing`);
  return isMissing;
}

/** Chromium's software adapter, so that pages have WebGPU without a GPU. */
const softwareGpu = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

export function startBrowser(name: BrowserName = "chrome", { hasGpu = false } = {}): Promise<Browser> {
  const chrome = hasGpu ? softwareGpu : ["--no-sandbox", "--disable-gpu"];
  return puppeteer.launch({
    browser: name,
    executablePath: paths[name],
    args: name === "chrome" ? chrome : [],
    timeout: 120_000,
  });
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
