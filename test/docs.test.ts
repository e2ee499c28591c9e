/** Every code block of the guides that is marked runnable, as a program of its own beside a file model.gguf. */
import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const guides = join(root, "docs", "guide");
const blocks = readdirSync(guides).flatMap((file) =>
  [...readFileSync(join(guides, file), "utf8").matchAll(/```ts runnable\n([\s\S]*?)```/g)].map(
    ([, code = ""], index) => ({ name: `${file}, block ${index + 1}`, code }),
  ),
);

it("name the command as it runs where it is not installed: the package bitnet is somebody else's", () => {
  const pages = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" });
  const own = pages.filter((path) => /^(guide\/)?[\w-]+\.md$/.test(path)).map((path) => join("docs", path));
  for (const path of [...own, "README.md"]) {
    const lines = readFileSync(join(root, path), "utf8").split("\n");
    // In a container or a service it is installed; the pages of commands say so at their top.
    const wrong = lines.filter((line) => /^(\s{4}|\$ )?(npx )?bitnet [a-z]/.test(line));
    expect(wrong, path).toEqual([]);
  }
});

describe("the guides", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bitnet-guides-"));
    copyFileSync(join(root, "models", "tiny.gguf"), join(folder, "model.gguf"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("have runnable blocks", () => {
    expect(blocks.length).toBeGreaterThanOrEqual(8);
  });

  it.each(blocks)("$name runs", async ({ code }) => {
    // Inside a workspace package, so that the import resolves as it does for a user; valid JavaScript as it stands.
    const path = join(root, "packages", "cli", `guide.${process.pid}.mjs`);
    writeFileSync(path, code);
    try {
      const { stdout } = await promisify(execFile)(process.execPath, [path], { cwd: folder });
      // A mark or two is no first impression.
      expect(stdout.trim().length).toBeGreaterThan(3);
      // What a comment behind a console.log promises.
      for (const [, promised = ""] of code.matchAll(/console\.log\(.*\); \/\/ (.+)$/gm))
        expect(stdout).toContain(promised);
    } finally {
      rmSync(path, { force: true });
    }
  });
});
