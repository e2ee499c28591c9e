/** The example of the README, run as a program of its own. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const blocks = [...readFileSync(`${root}README.md`, "utf8").matchAll(/```ts\n([\s\S]*?)```/g)].map(
  (match) => match[1] ?? "",
);

it("is a front page: what it is, how to get it and a model, then both ways to use it, then the rest", () => {
  const text = readFileSync(`${root}README.md`, "utf8");
  expect(text.indexOf("terminal.svg")).toBeLessThan(text.indexOf("## "));
  const titles = [...text.matchAll(/^## (.+)$/gm)].map(([, title]) => title);
  expect(titles.slice(0, 5)).toEqual([
    ...["Install, and get a model", "From TypeScript", "On the command line", "How fast", "What it opens"],
  ]);
  for (const [, path = ""] of text.matchAll(/\]\((?!http)([^)#]+)(?:#[^)]*)?\)/g))
    expect(existsSync(root + path), path).toBe(true);
});

it("has one example, of at most five statements", () => {
  expect(blocks).toHaveLength(1);
  expect(blocks[0]?.split("\n").filter((line) => line.trim() !== "").length).toBeLessThanOrEqual(5);
});

it("prints what the model writes", async () => {
  // Inside a workspace package, so that the import resolves as it does for a user; valid JavaScript as it stands.
  const path = `${root}packages/cli/readme-example.${process.pid}.mjs`;
  writeFileSync(path, blocks[0] ?? "");
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [path], { cwd: root });
    expect(stdout.length).toBeGreaterThan(20);
  } finally {
    rmSync(path, { force: true });
  }
});
