// Takes a bare clone to a built workspace and runs one command in it: start, test, check, build, bench, pack or record. Plain JavaScript
// because it runs before the compiler is installed; everything it calls is TypeScript.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const stamp = join(root, "node_modules", ".installed-lockfile");

/** Runs a program in the workspace; ends this process when it fails. */
function run(program, args, options = {}) {
  const result = spawnSync(program, args, { cwd: root, stdio: "inherit", ...options });
  if (result.error) {
    console.error(`bootstrap: ${program} could not be started: ${result.error.message}`);
    process.exit(1);
  }
  if (result.status !== 0) process.exit(result.status ?? 1);
}

const node = (...args) => run(process.execPath, args);
const tool = (name, entry, ...args) => node(join("node_modules", name, entry), ...args);

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    console.error(`bootstrap: Node 20.19 or newer is needed, this is ${process.version}`);
    process.exit(1);
  }
}

/** Installs exactly what the lockfile names, unless that has been done. */
function install() {
  const wanted = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  console.error("Installing dependencies …");
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  if (npm?.endsWith(".js")) node(npm, ...args);
  else run("npm", args, { shell: process.platform === "win32" }); // npm is a script there
  writeFileSync(stamp, wanted);
}

/** A chat needs neither a trainer nor, beside the native backend, WebAssembly. */
function build(name) {
  if (name === "start") console.error("Building what has changed; the first time takes a minute or two …");
  tool("typescript", "bin/tsc", "-b");
  node("packages/native/dist/build/build.js");
  if (name === "start") return;
  node("packages/train/dist/build/build.js");
  node("packages/wasm/dist/build/build.js");
  node("packages/bitnet.ts/dist/build/bundle-worker.js");
  node("packages/web/dist/build/build.js");
}

function start(args) {
  const bitnet = "packages/cli/bin/bitnet.js";
  if (args.length > 0) return node(bitnet, ...args);
  console.error(
    "The embedded model: 5 million parameters of -1, 0 and 1, trained by this project (docs/default-model.md). It knows a small world. Try:\n" +
      "  hello · tell me a story about a dragon · what do owls eat · what is 7 + 5 · tell me a joke\n" +
      "For a model that knows more: npx bitnet pull 2b-4t, then npx bitnet chat -m 2b-4t (npx bitnet models lists others).",
  );
  if (process.stdin.isTTY && process.stdout.isTTY) return node(bitnet, "chat");
  const message = "Tell me a story about a dragon.";
  const isColoured = process.stdout.isTTY && !process.env.NO_COLOR;
  process.stdout.write(isColoured ? `\u001b[2m${message}\u001b[22m\n` : `${message}\n`);
  node(bitnet, "run", "--system-prompt", "", "-p", message, "--seed", "1");
}

/** Types are checked by the build. */
function check() {
  tool("@biomejs/biome", "bin/biome", "check", "--error-on-warnings", ".");
  node("build/scripts/import-law.js");
  node("build/scripts/generated-files.js", "--check");
  tool("knip", "bin/knip.js");
}

const vitest = (...args) => tool("vitest", "vitest.mjs", "run", ...args);

const commands = {
  start,
  build: () => {},
  check: (args) => {
    check();
    // Tests of many cases take a part of them then.
    process.env.BITNET_QUICK = "1";
    vitest("--exclude", "**/*.slow.test.ts", "--exclude", "test/**", ...args);
  },
  test: (args) => {
    check();
    vitest(...args);
  },
  bench: (args) => node("build/bench/main.js", ...args),
  pack: (args) => node("build/scripts/pack.js", ...args),
  record: () => node("build/scripts/record-terminal.js"),
};

const [name = "", ...args] = process.argv.slice(2);
const command = commands[name];
if (!command) {
  console.error(`bootstrap: expected one of ${Object.keys(commands).join(", ")}, found "${name}"`);
  process.exit(1);
}
checkNode();
install();
build(name);
command(args);
