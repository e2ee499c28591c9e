/**
 * Published clients that are no dependency of this repository, at the versions of test/wire/clients.json, in a folder of their own: they
 * stream, call a tool, get JSON by a schema, embed, stop, leave midway, and see errors as their own.
 */
import { execFile, execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { embeddedModelPath } from "bitnet.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

let folder: string;
let server: ServerProcess;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-clients-"));
  const { versions } = JSON.parse(readFileSync(new URL("wire/clients.json", import.meta.url), "utf8")) as {
    versions: Record<string, string>;
  };
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ private: true, type: "module", dependencies: { ...versions, zod: "4.6.7" } }),
  );
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"];
  execFileSync("npm", ["install", ...flags], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  server = await startServerProcess(["--model", `tiny=${embeddedModelPath()}`]);
}, 600_000);
afterAll(async () => {
  await server?.end();
  rmSync(folder, { recursive: true, force: true });
}, 300_000);

interface Seen {
  error?: string;
  text: string;
  whole: string;
  usage: number;
  finish?: string;
  calls: [string, unknown][] | null;
  object: unknown;
  /** Null where the dialect, or the client, has no such thing. */
  stopped: string | null;
  aborted: boolean;
  failure: [isOwn: boolean, status: number | undefined, message: string];
  dimensions: number[] | null;
}

async function see(program: string): Promise<Record<string, Seen>> {
  const path = join(folder, program);
  copyFileSync(new URL(`clients/${program}`, import.meta.url), path);
  const { stdout } = await promisify(execFile)(process.execPath, [path, server.url], { cwd: folder });
  return JSON.parse(stdout) as Record<string, Seen>;
}

async function expectIdle(): Promise<void> {
  for (;;) {
    const { requests } = (await (await server.get("/stats")).json()) as { requests: { running: number } };
    if (requests.running === 0) return;
  }
}

const city = { c: expect.stringMatching(/^(Rome|Oslo)$/) };

function check(name: string, seen: Seen | undefined): void {
  const { error, text, whole, usage, calls, object, stopped, aborted, failure, dimensions } = seen as Seen;
  expect(error, name).toBe(undefined);
  expect(text, name).not.toBe("");
  expect(text, name).toBe(whole);
  expect(usage, name).toBeGreaterThan(0);
  if (calls !== null) expect(calls[0], name).toEqual(["w", city]);
  expect(object, name).toEqual(city);
  if (stopped !== null) expect(stopped, name).toBe(whole.slice(0, whole.indexOf("e")));
  expect(aborted, name).toBe(true);
  // The AI SDK's provider for Ollama looks for OpenAI's errors.
  expect([failure[0], failure[2]], name).toEqual([
    true,
    expect.stringMatching(/does not exist here|Not Found/),
  ]);
  expect([404, undefined], name).toContain(failure[1]);
  if (dimensions !== null) expect(dimensions, name).toEqual([dimensions[0], dimensions[0]]);
}

test("the AI SDK with the providers of OpenAI, Anthropic and Ollama", async () => {
  const seen = await see("ai-sdk.mjs");
  const names = ["openai-compatible", "openai responses", "openai chat", "anthropic", "ollama"];
  expect(Object.keys(seen)).toEqual(names);
  for (const name of names) check(name, seen[name]);
  expect(seen["openai-compatible"]?.finish).toBe("stop");
  await expectIdle();
}, 300_000);

test("LangChain with the providers of OpenAI, Anthropic and Ollama", async () => {
  const seen = await see("langchain.mjs");
  expect(Object.keys(seen)).toEqual(["openai", "anthropic", "ollama"]);
  for (const [name, each] of Object.entries(seen)) check(name, each);
  await expectIdle();
}, 300_000);
