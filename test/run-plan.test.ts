import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { root } from "./packed-project.ts";
import { anyNode, longest } from "./run-plan.ts";

const listed = Object.values(anyNode).flat();

it("names only files that there are, each once", () => {
  expect([...listed, ...longest].filter((path) => !existsSync(join(root, path)))).toEqual([]);
  expect(listed.length).toBe(new Set(listed).size);
  expect(longest.length).toBe(new Set(longest).size);
});

it("leaves nothing out but on the second Node of .ci/run, which has run everything on the first", () => {
  const lines = readFileSync(join(root, ".ci", "run"), "utf8").split("\n");
  const runs = lines.filter((line) => /\b(npm test|vitest run)\b/.test(line) && !line.startsWith("#"));
  expect(runs.map((line) => line.includes("BITNET_ANOTHER_NODE=1"))).toEqual([false, true]);
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: object };
  expect(JSON.stringify(scripts)).not.toContain("BITNET_ANOTHER_NODE");
});
