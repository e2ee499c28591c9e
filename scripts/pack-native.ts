/**
 * Makes the prebuilt package of the platform it runs on: `@bitnet.ts/native-<platform>-<arch>`, a folder with package.json and the
 * compiled addon, ready for `npm publish`. Users who install it need no compiler, and no install script runs.
 * Usage: node build/scripts/pack-native.js [folder]
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..", "..");
const target = `${process.platform}-${process.arch}`;
const binary = join(root, "packages", "native", "build", target, "bitnet.node");
const folder = resolve(process.argv[2] ?? join(root, "build", `native-${target}`));

if (!existsSync(binary)) {
  console.error(`pack-native: ${binary} is missing; run npm run build with a C++20 compiler first`);
  process.exit(1);
}
const { version, license } = JSON.parse(
  readFileSync(join(root, "packages", "native", "package.json"), "utf8"),
);
const manifest = {
  name: `@bitnet.ts/native-${target}`,
  version,
  description: `Compiled SIMD kernels of bitnet.ts for ${target}`,
  license,
  main: "bitnet.node",
  files: ["bitnet.node"],
  os: [process.platform],
  cpu: [process.arch],
};
mkdirSync(folder, { recursive: true });
copyFileSync(binary, join(folder, "bitnet.node"));
copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
console.error(`pack-native: ${folder}`);
