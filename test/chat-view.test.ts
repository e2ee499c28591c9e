/**
 * What the chat does with answers that come as a test wants them: code, other scripts, failures, and what people do while one is coming. The page and
 * its server are real, the answers are not. Needs Debian's chromium.
 */
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { personAt } from "./chat-page.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";
import { isBrowserMissing, openPage, picture, startBrowser } from "./web-page.ts";

/** In place of the server's answers: `piece` adds to the one that is coming, `endAnswer` and `failAnswer` end it. */
const staged = `
  const real = fetch;
  let out = null;
  const encoder = new TextEncoder();
  const send = (chunk) => out.enqueue(encoder.encode("data: " + JSON.stringify(chunk) + "\\n\\n"));
  globalThis.fetch = (path, options) => {
    if (path !== "/v1/chat/completions") return real(path, options);
    const body = new ReadableStream({ start: (controller) => { out = controller; } });
    options.signal.addEventListener("abort", () => out.error(new DOMException("", "AbortError")));
    return Promise.resolve(new Response(body));
  };
  globalThis.piece = (content) => send({ choices: [{ delta: { content }, finish_reason: null }] });
  globalThis.endAnswer = () => { send({ choices: [{ delta: {}, finish_reason: "stop" }], usage: { completion_tokens: 3 } }); out.close(); };
  globalThis.failAnswer = (message) => { send({ error: { message } }); out.close(); };
`;

const isMissing = isBrowserMissing();
let server: ServerProcess;
let browser: Browser;
let page: Page;
let problems: string[];

const { texts, ask, press } = personAt(() => page);
const call = (name: string, ...given: string[]) => page.evaluate(`${name}(...${JSON.stringify(given)})`);
const isWaiting = () => page.waitForFunction(() => document.getElementById("stop")?.hidden === false);
const isIdle = () => page.waitForFunction(() => document.getElementById("stop")?.hidden === true);
const state = () => page.$eval("#state", (line) => line.textContent);

async function exchange(question: string, ...answer: string[]): Promise<void> {
  await ask(question);
  await isWaiting();
  for (const each of answer) await call("piece", each);
  await call("endAnswer");
  await isIdle();
}

beforeAll(async () => {
  if (isMissing) return;
  server = await startServerProcess();
  browser = await startBrowser();
}, 150_000);
afterAll(async () => {
  await browser?.close();
  await server?.end();
});
beforeEach(async () => {
  if (isMissing) return;
  await page?.close();
  ({ page, problems } = await openPage(browser));
  await page.evaluateOnNewDocument(staged);
  await page.goto(server.url, { waitUntil: "networkidle0" });
  await page.evaluate(() => localStorage.clear());
  await page.reload({ waitUntil: "networkidle0" });
});

test.skipIf(isMissing)(
  "code stands as code, every script in its direction, and what was shown stays in place",
  async () => {
    await ask("שלום <i>x</i>");
    await isWaiting();
    await call("piece", "Like **this**:\n```js\nconst a = '<b>");
    await page.evaluate(() => Object.assign(globalThis, { shown: document.querySelector("article pre") }));
    await call("piece", "';\n```\nمرحبا");
    expect(
      await page.evaluate(
        () => (globalThis as { shown?: Element }).shown === document.querySelector("article pre"),
      ),
    ).toBe(true);
    // Nothing that would begin a second answer beside the one that is coming.
    expect(await texts("article.assistant button")).toEqual([]);
    await call("endAnswer");
    await isIdle();
    const parts = await page.$$eval("article.assistant .body > *", (all) =>
      all.map((each) => [each.tagName, (each as HTMLElement).dir, each.textContent]),
    );
    expect(parts).toEqual([
      ["DIV", "auto", "Like **this**:"],
      ["PRE", "ltr", "const a = '<b>';"],
      ["DIV", "auto", "مرحبا"],
    ]);
    expect(await texts("article.user .body")).toEqual(["שלום <i>x</i>"]);
    expect(await page.$eval("#text", (field) => (field as HTMLTextAreaElement).dir)).toBe("auto");
    expect(problems).toEqual([]);
  },
);

test.skipIf(isMissing)(
  "taking a question back before its answer has begun leaves what was said before",
  async () => {
    await exchange("One", "The first answer");
    await ask("Two");
    await isWaiting();
    await press("Edit");
    await isIdle();
    expect(await texts("article .body")).toEqual(["One", "The first answer"]);
    expect(await page.$eval("#text", (field) => (field as HTMLTextAreaElement).value)).toBe("Two");
  },
);

test.skipIf(isMissing)("a conversation that is deleted while its answer comes stays away", async () => {
  await ask("Forget me");
  await isWaiting();
  await call("piece", "I will not");
  await page.click('[aria-label="Delete Forget me"]');
  await isIdle();
  expect(await texts("#list li button:first-child")).toEqual(["New conversation"]);
  expect(await page.evaluate(() => localStorage.getItem("bitnet.conversations"))).not.toMatch(/Forget/);
});

test.skipIf(isMissing)("two tabs keep each other's conversations", async () => {
  const first = page;
  const other = await openPage(browser);
  await other.page.evaluateOnNewDocument(staged);
  await other.page.goto(server.url, { waitUntil: "networkidle0" });
  await exchange("In the first tab", "yes");
  page = other.page;
  await exchange("In the second tab", "yes");
  await page.reload({ waitUntil: "networkidle0" });
  expect(await texts("#list li button:first-child")).toEqual(["In the second tab", "In the first tab"]);
  await first.close();
});

test.skipIf(isMissing)("a failure is said, and no longer once another question is asked", async () => {
  await ask("One");
  await isWaiting();
  await call("failAnswer", "out of <b>luck</b>");
  await isIdle();
  expect(await state()).toBe("Failed: out of <b>luck</b>");
  await ask("Two");
  await isWaiting();
  expect(await state()).toBe("");
});

test.skipIf(isMissing)("copies on pages without https, and says so", async () => {
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await exchange("One", "to be copied");
  await page.evaluate(() =>
    document.addEventListener("copy", () =>
      Object.assign(globalThis, {
        copied: String(getSelection()) || (document.activeElement as HTMLTextAreaElement).value,
      }),
    ),
  );
  const buttons = await page.$$("article.assistant .tools button");
  await buttons.at(-1)?.click();
  await page.waitForFunction(() => document.getElementById("state")?.textContent === "Copied");
  expect(await page.evaluate(() => (globalThis as { copied?: string }).copied)).toBe("to be copied");
});

test.skipIf(isMissing)("works where the browser forbids to keep anything", async () => {
  await page.evaluateOnNewDocument(() =>
    Object.defineProperty(globalThis, "localStorage", {
      get() {
        throw new DOMException("denied", "SecurityError");
      },
    }),
  );
  await page.reload({ waitUntil: "networkidle0" });
  await exchange("One", "answer");
  await page.click("#theme");
  expect(await texts("article .body")).toEqual(["One", "answer"]);
  expect(problems).toEqual([]);
});

test.skipIf(isMissing)("fits narrow and wide windows; Escape closes the list of conversations", async () => {
  const code =
    "```\nconst aVeryLongLine = 'that goes on and on and on and on and on and on and on and on and on';\n```";
  await exchange(
    "What is in a program?",
    `${"A long answer. ".repeat(60)}\n\n${code}\n\nwithABreak${"NoSpace".repeat(30)}`,
  );
  await exchange("اكتب لي جملة", "هذه جملة بالعربية، مع كلمة English في وسطها.");
  await ask("And now an error");
  await isWaiting();
  await call("failAnswer", "the model has no room for more");
  await isIdle();
  for (const theme of ["light", "dark"])
    for (const width of [1280, 390]) {
      await page.setViewport({ width, height: 800 });
      await page.evaluate((wanted) => {
        document.documentElement.dataset.theme = wanted;
      }, theme);
      await picture(page, `chat-${theme}-${width}`);
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
      expect(
        await page.$$eval("article", (all) =>
          all.every(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth),
        ),
      ).toBe(true);
    }
  await page.click("#menu");
  await picture(page, "chat-menu-390");
  expect(await page.$eval("#menu", (menu) => menu.ariaExpanded)).toBe("true");
  await page.keyboard.press("Escape");
  expect(await page.$eval("#menu", (menu) => [menu.ariaExpanded, menu === document.activeElement])).toEqual([
    "false",
    true,
  ]);
});
