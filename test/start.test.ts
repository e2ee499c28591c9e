/** `npm start` and its like: what scripts/bootstrap.mjs does in which order, in a tree whose tools only say that they were called. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";

const script = fileURLToPath(new URL("../scripts/bootstrap.mjs", import.meta.url));
let tree: string;
beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), "bitnet-start-"));
  put("scripts/bootstrap.mjs", readFileSync(script, "utf8"));
  put("package-lock.json", "{}");
  put("node_modules/.installed-lockfile", createHash("sha256").update("{}").digest("hex"));
  for (const path of [
    ...[
      "node_modules/typescript/bin/tsc",
      "node_modules/@biomejs/biome/bin/biome",
      "node_modules/knip/bin/knip.js",
    ],
    ...["node_modules/vitest/vitest.mjs", "packages/cli/bin/bitnet.js", "npm.js"],
    ...["native", "train", "wasm", "web"].map((name) => `packages/${name}/dist/build/build.js`),
    "packages/bitnet.ts/dist/build/bundle-worker.js",
    ...["import-law", "generated-files", "pack", "record-terminal"].map((name) => `build/scripts/${name}.js`),
    "build/bench/main.js",
  ])
    put(path, `console.log("ran ${path}", ...process.argv.slice(2));`);
});
afterEach(() => rmSync(tree, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), text);
}

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(tree, "scripts/bootstrap.mjs"), ...args],
    {
      encoding: "utf8",
      env: { ...process.env, npm_execpath: join(tree, "npm.js") },
    },
  );
  const ran = stdout.split("\n").flatMap((line) => /^ran (.*)$/.exec(line)?.[1] ?? []);
  return { status, stdout, stderr, ran };
}

it("start says what it does, compiles the kernels, shows the prompt, and says what the model is", () => {
  const { status, stdout, stderr, ran } = run("start");
  expect({ status, ran }).toEqual({
    status: 0,
    ran: [
      "node_modules/typescript/bin/tsc -b",
      "packages/native/dist/build/build.js",
      "packages/cli/bin/bitnet.js run --system-prompt  -p Tell me a story about a dragon. --seed 1",
    ],
  });
  expect(stderr).toMatch(/^Building what has changed; the first time takes a minute or two …\n/);
  expect(stderr).toMatch(
    /5 million parameters.*knows a small world[\s\S]*For a model that knows more: npx bitnet pull/,
  );
  expect(stdout).toContain("\nTell me a story about a dragon.\n");
});

it("start passes arguments on, as they are", () => {
  const { ran } = run("start", "run", "-p", "We  must", "-n", "3");
  expect(ran.at(-1)).toBe("packages/cli/bin/bitnet.js run -p We  must -n 3");
});

it("what a lockfile has not been installed for is installed first, without scripts, and once", () => {
  put("package-lock.json", '{"lockfileVersion":3}');
  expect(run("build").ran[0]).toBe("npm.js ci --ignore-scripts --no-audit --no-fund --loglevel=error");
  expect(run("build").ran[0]).toBe("node_modules/typescript/bin/tsc -b");
});

it("a step that fails ends it with its status, and nothing else runs", () => {
  put("packages/native/dist/build/build.js", "process.exit(7);");
  const { status, ran } = run("start");
  expect({ status, ran }).toEqual({ status: 7, ran: ["node_modules/typescript/bin/tsc -b"] });
});

it("check leaves the slow tests out, and looks at the rest first", () => {
  const { ran } = run("check");
  expect(ran.at(-1)).toMatch(/vitest.mjs run --exclude \*\*\/\*\.slow\.test\.ts/);
  expect(ran).toEqual(
    expect.arrayContaining([
      expect.stringContaining("biome check"),
      "build/scripts/generated-files.js --check",
    ]),
  );
});

it("every command of package.json is one, and another is refused by name", () => {
  const root = join(dirname(script), "..");
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  const names = Object.values(scripts).flatMap((line) => /bootstrap\.mjs (\w+)$/.exec(line)?.[1] ?? []);
  expect(names.length).toBeGreaterThan(6);
  const { status, stderr } = run("strat");
  expect(status).toBe(1);
  const [, known = ""] = /expected one of (.*), found "strat"/.exec(stderr) ?? [];
  expect(known.split(", ").sort()).toEqual(names.sort());
});
