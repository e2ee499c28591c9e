/**
 * The image without a container runtime: the Dockerfile's stages in clean folders, its command started from what they leave, with the
 * folder write-protected. The first stage is replaced by the tarballs of this workspace, which it would make in the same way.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { followDockerfile, type Stage } from "./dockerfile.ts";
import { makeTarballs, root } from "./packed-project.ts";

const scratch = mkdtempSync(join(tmpdir(), "bitnet-image-"));
let image: Stage;
let server: ChildProcess | null = null;

beforeAll(() => {
  const build = (stage: string) => {
    mkdirSync(join(stage, "tarballs"));
    for (const path of makeTarballs()) cpSync(path, join(stage, "tarballs", path.split("/").at(-1) ?? ""));
  };
  const text = readFileSync(join(root, "deploy/Dockerfile"), "utf8");
  image = followDockerfile(text, { context: root, scratch, replaced: { build } });
}, 1_800_000);

afterAll(() => {
  server?.kill("SIGKILL");
  execFileSync("chmod", ["-R", "u+w", scratch]);
  rmSync(scratch, { recursive: true, force: true });
});

test("it holds the packages and nothing of the workspace, and runs as nobody's root", () => {
  expect(image.user).toBe("1000:1000");
  expect(readdirSync(image.root).sort()).toEqual(["app", "data", "models"]);
  const installed = readdirSync(join(image.root, "app", "node_modules"));
  expect(installed).toContain("bitnet.ts");
  for (const name of ["typescript", "vitest", "kubernetes-models"]) expect(installed).not.toContain(name);
  const sources = readdirSync(join(image.root, "app", "node_modules", "bitnet.ts"));
  expect(sources).not.toContain("src");
});

test("its command serves, with keys, without writing to the image", { timeout: 120_000 }, async () => {
  const app = join(image.root, "app");
  const keys = join(image.root, "data", "keys.json");
  const [program = "", ...entry] = image.entrypoint;
  expect(program).toBe("node");
  const env = {
    PATH: process.env.PATH,
    ...image.env,
    HF_HOME: join(image.root, "models"),
    HOME: "/nonexistent",
  };
  const run = (args: string[]) =>
    execFileSync(process.execPath, [...entry, ...args], { cwd: app, env, encoding: "utf8" });
  const key = run(["keys", "create", "Ada", "--keys", keys])
    .trim()
    .split(/\s+/)
    .find((word) => word.startsWith("bn"));
  execFileSync("chmod", ["-R", "a-w", app]);
  chmodSync(keys, 0o444);
  const before = execFileSync("find", [app, "-newer", keys], { encoding: "utf8" });
  const args = image.cmd
    .map((arg) => (arg === "/run/bitnet/keys.json" ? keys : arg))
    .map((arg) => (arg === "8080" ? "0" : arg));
  // Where the tests run as root, the server gets the image's user.
  const user = process.getuid?.() === 0 ? { uid: 1000, gid: 1000 } : {};
  execFileSync("chmod", ["a+rx", scratch]);
  // As the image brings its own Node: the one that runs the tests may lie where that user cannot look.
  const node = join(scratch, "node");
  copyFileSync(process.execPath, node);
  server = spawn(node, [...entry, ...args], {
    cwd: app,
    env,
    stdio: ["ignore", "pipe", "inherit"],
    ...user,
  });
  let output = "";
  const port = await new Promise<string>((resolve, reject) => {
    server?.stdout?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      const [, found] = /listening on http:\/\/\S+:(\d+)\n[\s\S]*ready/.exec(output) ?? [];
      if (found !== undefined) resolve(found);
    });
    server?.once("error", reject);
    server?.once("exit", (status) => reject(new Error(`ended with ${status}: ${output}`)));
  });
  const url = `http://127.0.0.1:${port}`;
  expect((await fetch(`${url}/health/ready`)).status).toBe(200);
  const ask = (headers: Record<string, string>) =>
    fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ prompt: "Once upon a time", max_tokens: 4 }),
    });
  expect((await ask({})).status).toBe(401);
  const answer = await ask({ authorization: `Bearer ${key}` });
  expect(answer.status).toBe(200);
  expect(
    ((await answer.json()) as { usage: { completion_tokens: number } }).usage.completion_tokens,
  ).toBeGreaterThan(0);
  const ended = once(server, "exit");
  server.kill("SIGTERM");
  expect((await ended)[0]).toBe(143);
  expect(execFileSync("find", [app, "-newer", keys], { encoding: "utf8" })).toBe(before);
});
