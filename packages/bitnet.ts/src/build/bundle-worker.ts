/**
 * Bundles the engine's worker into worker/, scripts without imports and the compiled modules beside them: import maps do not hold in
 * workers, and tools that copy workers without bundling them exist. Usage: node bundle-worker.js, after the compilers.
 */
import { copyFileSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";

const packageFolder = resolve(import.meta.dirname, "..", "..");
const outdir = join(packageFolder, "worker");
const wasm = dirname(fileURLToPath(import.meta.resolve("@bitnet.ts/wasm")));

/** The WebAssembly package names its files as they lie there; in the bundle they lie beside it. */
const besideEachOther: Plugin = {
  name: "beside-each-other",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]wasm[\\/]dist[\\/]platform\.js$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      const contents = text
        .replace('new URL("../dist/worker.js"', 'new URL("./wasm-worker.js"')
        .replaceAll('new URL("../dist/bitnet-', 'new URL("./bitnet-');
      if (contents.split('new URL("./').length !== 4)
        throw new Error(`${path}: expected the places of a worker and two modules`);
      return { contents, loader: "js" };
    });
  },
};

rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: {
    worker: join(packageFolder, "dist", "browser", "engine-worker.js"),
    "wasm-worker": join(wasm, "worker.js"),
  },
  outdir,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: ["es2022", "chrome111", "firefox114", "safari16.4"],
  minify: true,
  legalComments: "none",
  logLevel: "warning",
  plugins: [besideEachOther],
});
for (const kind of ["relaxed", "plain"])
  copyFileSync(join(wasm, `bitnet-${kind}.wasm`), join(outdir, `bitnet-${kind}.wasm`));
