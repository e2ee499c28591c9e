/**
 * Bundles the engine's worker into worker/, a script without imports: import maps do not hold in workers, and tools that copy workers
 * without bundling them exist. Usage: node bundle-worker.js, after the compiler.
 */
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";

const packageFolder = resolve(import.meta.dirname, "..", "..");
const outdir = join(packageFolder, "worker");

rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: { worker: join(packageFolder, "dist", "browser", "engine-worker.js") },
  outdir,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: ["es2022", "chrome111", "firefox114", "safari16.4"],
  minify: true,
  legalComments: "none",
  logLevel: "warning",
});
