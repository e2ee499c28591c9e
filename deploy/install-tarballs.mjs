/**
 * Installs bitnet.ts from tarballs (`npm run pack`) into a folder, as a registry would give it. Node alone, since it runs in an image.
 * Usage: node install-tarballs.mjs <folder of tarballs> <target folder>
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const [from, to] = process.argv.slice(2);
if (from === undefined || to === undefined) {
  console.error("install-tarballs: expected a folder of tarballs and a target folder");
  process.exit(1);
}
const specs = {};
for (const name of readdirSync(from).filter((each) => each.endsWith(".tgz"))) {
  const path = resolve(from, name);
  const manifest = JSON.parse(
    execFileSync("tar", ["-xzOf", path, "package/package.json"], { encoding: "utf8" }),
  );
  specs[manifest.name] = `file:${path}`;
}
const { "bitnet.ts": facade, ...overrides } = specs;
if (facade === undefined) {
  console.error(
    `install-tarballs: ${resolve(from)} holds no tarball of bitnet.ts; make them with: npm run pack`,
  );
  process.exit(1);
}
mkdirSync(to, { recursive: true });
const manifest = { private: true, dependencies: { "bitnet.ts": facade }, overrides };
writeFileSync(join(to, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
const args = ["install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
execFileSync("npm", args, { cwd: to, stdio: "inherit" });
