/** Builds the trainer's addon: `node packages/train/dist/build/build.js`. The work is that of the native package's build. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildAddon } from "@bitnet.ts/native/build/addon";
import { trainUnits } from "./units.ts";

const packageFolder = fileURLToPath(new URL("../../native", import.meta.url));
const headers = createRequire(import.meta.url).resolve("node-api-headers/package.json");

const outcome = await buildAddon({
  packageFolder,
  headerFolder: join(dirname(headers), "include"),
  kernels: trainUnits,
  say: (text) => process.stderr.write(text),
});
process.exitCode = outcome === "failed" ? 1 : 0;
