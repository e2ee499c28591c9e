/**
 * Builds the native addon: `node packages/native/dist/build/build.js`. What it does stands in build-addon.ts. Without a compiler it
 * succeeds: the reference backend serves.
 */
import { buildPackage } from "./build-package.ts";
import { compileProgress } from "./compile-progress.ts";

const { stderr } = process;
const outcome = await buildPackage(
  (text) => stderr.write(text),
  undefined,
  compileProgress((text) => stderr.write(text), stderr.isTTY === true),
);
process.exitCode = outcome === "failed" ? 1 : 0;
