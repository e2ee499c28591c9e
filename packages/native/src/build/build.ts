/**
 * Builds the native addon: `node packages/native/dist/build/build.js`. What it does stands in build-addon.ts.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildAddon } from "./build-addon.ts";
import { kernelUnits } from "./units.ts";

const packageFolder = fileURLToPath(new URL("../..", import.meta.url));
// Found as any dependency is, wherever it was installed.
const headers = createRequire(import.meta.url).resolve("node-api-headers/package.json");

process.exitCode = await buildAddon({
  packageFolder,
  headerFolder: join(dirname(headers), "include"),
  kernels: kernelUnits,
  say: (text) => process.stderr.write(text),
});
