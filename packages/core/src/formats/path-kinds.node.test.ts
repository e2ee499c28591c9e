/** What is no regular file is refused at once: opening or reading it might wait for ever. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openFileSource } from "../base/byte-source.node.ts";
import { openPath } from "./model-files.node.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-source-"));
afterAll(() => rmSync(folder, { recursive: true }));
const isPosix = process.platform !== "win32";

const refuses = async (path: string, found: string) => {
  for (const open of [openFileSource, openPath])
    await expect(open(path)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining(`expected a file, found ${found}`),
    });
};

test.runIf(isPosix)("a pipe that nobody writes to", async () => {
  const path = join(folder, "pipe.gguf");
  execFileSync("mkfifo", [path]);
  await refuses(path, "a pipe");
});

test.runIf(isPosix)("a device", () => refuses("/dev/zero", "a device"));

test.runIf(isPosix)("a socket", async () => {
  const path = join(folder, "socket.gguf");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  await refuses(path, "a socket");
  server.close();
});

test("a folder, where a file has to be", async () => {
  await expect(openFileSource(folder)).rejects.toThrow("expected a file, found a folder");
});
