/**
 * Bundles the engine's worker into worker/, scripts without imports and the compiled modules beside them: import maps do not hold in
 * workers, and tools that copy workers without bundling them exist. Usage: node bundle-worker.js, after the compilers.
 */
import { copyFileSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";

const packageFolder = resolve(import.meta.dirname, "..", "..");
const outdir = join(packageFolder, "worker");
const wasm = dirname(fileURLToPath(import.meta.resolve("@bitnet.ts/wasm")));
const grammar = dirname(fileURLToPath(import.meta.resolve("@bitnet.ts/grammar")));

/** The packages name their workers and modules as they lie there; in the bundle they lie beside it. */
const besideEachOther: Plugin = {
  name: "beside-each-other",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/](wasm|grammar)[\\/]dist[\\/]platform\.js$/ }, ({ path }) => {
      const name = basename(dirname(dirname(path)));
      const text = readFileSync(path, "utf8");
      const contents = text
        .replace('new URL("../dist/worker.js"', `new URL("./${name}-worker.js"`)
        .replaceAll('new URL("../dist/bitnet-', 'new URL("./bitnet-');
      if (!contents.includes(`new URL("./${name}-worker.js"`) || contents.includes('new URL("../'))
        throw new Error(`${path}: expected the places of a worker and of modules`);
      return { contents, loader: "js" };
    });
  },
};

/** What the grammar compiler asks Node for where it runs in Node: here nothing, for bundlers of users would look for it. */
const withoutNode: Plugin = {
  name: "without-node",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(module|url)$/ }, ({ path }) => ({ path, namespace: "of-node" }));
    onLoad({ filter: /.*/, namespace: "of-node" }, () => ({ contents: "export {};" }));
  },
};

rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: {
    worker: join(packageFolder, "dist", "browser", "engine-worker.js"),
    "wasm-worker": join(wasm, "worker.js"),
    "grammar-worker": join(grammar, "worker.js"),
  },
  outdir,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: ["es2022", "chrome111", "firefox114", "safari16.4"],
  minify: true,
  legalComments: "none",
  banner: { js: "/* bitnet.ts, MIT; grammar-worker.js holds @mlc-ai/web-xgrammar, Apache-2.0 */" },
  logLevel: "warning",
  plugins: [besideEachOther, withoutNode],
});
for (const kind of ["relaxed", "plain"])
  copyFileSync(join(wasm, `bitnet-${kind}.wasm`), join(outdir, `bitnet-${kind}.wasm`));
