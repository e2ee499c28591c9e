/** `bitnet web` as a process: what it serves, with which headers, and the files that it writes for other hosts. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root, tinyModel } from "./packed-project.ts";

const bin = join(root, "packages", "cli", "bin", "bitnet.js");
const run = promisify(execFile);
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-web-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The process, and the address that it prints. */
async function start(...args: string[]): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [bin, "web", "--port", "0", ...args], {
    env: { ...process.env, HF_ENDPOINT: "" },
  });
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        const [, address] = /^listening on (http\S+)$/m.exec(said) ?? [];
        if (address !== undefined) resolve(address);
      });
    child.on("close", () => reject(new Error(`it ended: ${said}`)));
  });
  return { child, url };
}

/** The status of an answer to a request as it is, without what fetch makes of paths and names. */
function statusOf(url: string, path: string, headers: Record<string, string> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(url);
    request({ host: "127.0.0.1", port, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on("error", reject)
      .end();
  });
}

describe("bitnet web", () => {
  it("serves the page isolated, and the model by ranges", async () => {
    const model = join(folder, 'a "model" & more.gguf');
    copyFileSync(tinyModel, model);
    const { child, url } = await start("-m", model);
    try {
      const page = await fetch(url);
      expect(Object.fromEntries(page.headers)).toMatchObject({
        "content-type": "text/html; charset=utf-8",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
        "content-security-policy": expect.stringMatching(/script-src 'self' 'wasm-unsafe-eval';/),
      });
      const html = await page.text();
      expect(html).not.toMatch(/http-equiv/);
      const [, place = ""] = /name="bitnet-model" content="([^"]*)"/.exec(html) ?? [];
      const address = new URL(place.replaceAll("&amp;", "&"), `${url}/`);
      const part = await fetch(address, { headers: { range: "bytes=0-3" } });
      expect([part.status, part.headers.get("etag")]).toEqual([206, expect.any(String)]);
      expect(await part.text()).toBe("GGUF");
      for (const name of ["app.js", "worker.js", "sw.js", "bitnet-relaxed.wasm", "manifest.webmanifest"]) {
        const answer = await fetch(`${url}/${name}`);
        expect([answer.status, answer.headers.get("cross-origin-embedder-policy")]).toEqual([
          200,
          "require-corp",
        ]);
        await answer.body?.cancel();
      }
      expect((await fetch(`${url}/sw.js`)).headers.get("content-type")).toMatch(/javascript/);
      expect((await fetch(url, { method: "POST" })).status).toBe(405);
      expect(await statusOf(url, "/nothing")).toBe(404);
      for (const path of [
        "/../package.json",
        "/..%2fpackage.json",
        "/model/../../package.json",
        "/%00",
        "/%",
      ])
        expect([400, 403, 404]).toContain(await statusOf(url, path));
      expect(await statusOf(url, "/", { host: "evil.example" })).toBe(403);
      expect(await statusOf(url, "/", { host: "localhost" })).toBe(200);
    } finally {
      child.kill("SIGTERM");
      await once(child, "close");
    }
  });

  it("writes the files for another host, into a new folder only", async () => {
    const out = join(folder, "site");
    const { stdout } = await run(process.execPath, [bin, "web", "--out", out]);
    expect(stdout).toMatch(/site: \d+ files\n$/);
    const policy = /http-equiv="content-security-policy" content="([^"]*)"/.exec(
      readFileSync(join(out, "index.html"), "utf8"),
    );
    expect(policy?.[1]).toMatch(/^default-src 'none'; script-src 'self' 'wasm-unsafe-eval';/);
    // The service worker keeps all of them but itself.
    const worker = readFileSync(join(out, "sw.js"), "utf8");
    for (const name of readdirSync(out).filter((each) => each !== "sw.js" && each !== "index.html"))
      expect(worker).toContain(`./${name}"`);
    await expect(run(process.execPath, [bin, "web", "--out", out])).rejects.toThrow(/new or empty folder/);
  });

  it("refuses what is no model, and a port that is taken", async () => {
    const text = join(folder, "notes.txt");
    writeFileSync(text, "no model");
    await expect(run(process.execPath, [bin, "web", "-m", text])).rejects.toThrow(/\.gguf/);
    await expect(run(process.execPath, [bin, "web", "-m", `${text}.gguf`])).rejects.toThrow(/no such file/);
    const { child, url } = await start();
    const { port } = new URL(url);
    await expect(run(process.execPath, [bin, "web", "--port", port])).rejects.toThrow(/the port is taken/);
    child.kill("SIGTERM");
    await once(child, "close");
  });
});
