/**
 * Builds the native addon: `node packages/native/dist/build/build.js`. What it does stands in build-addon.ts. Without a compiler it
 * succeeds: the reference backend serves.
 */
import { buildPackage } from "./build-package.ts";

const outcome = await buildPackage((text) => process.stderr.write(text));
process.exitCode = outcome === "failed" ? 1 : 0;
