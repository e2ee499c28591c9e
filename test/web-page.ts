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

interface StartOptions {
  hasGpu?: boolean;
  /** Firefox only: what about:config holds. */
  preferences?: Record<string, unknown>;
}

export async function startBrowser(
  name: BrowserName = "chrome",
  { hasGpu = false, preferences = {} }: StartOptions = {},
): Promise<Browser> {
  const chrome = hasGpu ? softwareGpu : ["--no-sandbox", "--disable-gpu"];
  const browser = await puppeteer.launch({
    browser: name,
    executablePath: paths[name],
    args: name === "chrome" ? chrome : ["--remote-allow-system-access"],
    timeout: 120_000,
    ...(name === "firefox" ? { extraPrefsFirefox: preferences } : {}),
  });
  if (name === "firefox") await leaveWorkersAlone(browser);
  return browser;
}

/**
 * While somebody listens to the coming and going of workers (WebDriver in every session, the developer tools), a worker of Firefox ESR 153 that starts
 * or ends another one waits until that has been told, and now and then misses it: then it waits for ever. Pages that nobody drives
 * are not concerned (0 of 60 visits, against 5 of 50 and more). So WebDriver's listener is taken away, from within the browser.
 */
async function leaveWorkersAlone(browser: Browser): Promise<void> {
  const { connection } = browser as unknown as { connection: BidiConnection };
  const { result } = await connection.send("browsingContext.getTree", { "moz:scope": "chrome" });
  const told = await connection.send("script.evaluate", {
    expression: 'ChromeUtils.unregisterProcessActor("WebDriverWorkerListener")',
    target: { context: result.contexts?.[0]?.context },
    awaitPromise: false,
  });
  if (told.result.type !== "success") throw new Error(`Firefox: ${JSON.stringify(told.result)}`);
}

/** The part of Puppeteer's connection that it keeps to itself. */
interface BidiConnection {
  send(
    method: string,
    params: object,
  ): Promise<{ result: { type?: string; contexts?: { context: string }[] } }>;
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
