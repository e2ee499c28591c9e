/**
 * Builds the page's static files from the compiled packages into site/: scripts, styles, the tiny
 * model, and the list of all of them in the service worker. Usage: node build.js
 */
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { type BuildOptions, build, type Metafile } from "esbuild";
import { contentPolicy } from "../policy.ts";
import { pageHtml } from "./page-html.ts";

const packageFolder = resolve(import.meta.dirname, "..", "..");
const root = resolve(packageFolder, "..", "..");
const site = join(packageFolder, "site");
const pages = join(packageFolder, "dist", "page");

const common: BuildOptions = {
  bundle: true,
  outdir: site,
  platform: "browser",
  target: ["es2022", "chrome111", "firefox114", "safari16.4"],
  minify: true,
  legalComments: "none",
  logLevel: "warning",
};

/** Versions of all files, one after the other. */
function hashOf(files: readonly string[]): string {
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update(readFileSync(join(site, file)));
  return hash.digest("hex").slice(0, 16);
}

/** The engine on the page's own thread, which the library imports only when it is asked for that, is never asked for here. */
function removeUnused({ outputs }: Metafile): void {
  const name = (path: string) => basename(path);
  const byName = new Map(Object.entries(outputs).map(([path, output]) => [name(path), output]));
  const used = new Set<string>();
  const visit = (file: string) => {
    if (used.has(file)) return;
    used.add(file);
    for (const { path, kind } of byName.get(file)?.imports ?? [])
      if (kind === "import-statement") visit(name(path));
  };
  visit("app.js");
  for (const file of byName.keys()) if (!used.has(file)) rmSync(join(site, file));
}

rmSync(site, { recursive: true, force: true });
mkdirSync(site, { recursive: true });
const { metafile } = await build({
  ...common,
  entryPoints: { app: join(pages, "app.js") },
  format: "esm",
  splitting: true,
  chunkNames: "part-[hash]",
  metafile: true,
});
removeUnused(metafile);
const worker = join(root, "packages", "bitnet.ts", "worker");
// The page asks for no answers in a form: the grammar compiler, the largest of the scripts, stays out of what every visit keeps.
for (const name of readdirSync(worker))
  if (name !== "grammar-worker.js") copyFileSync(join(worker, name), join(site, name));
const policy = contentPolicy(null);
for (const name of readdirSync(join(packageFolder, "page")))
  copyFileSync(join(packageFolder, "page", name), join(site, name));
const part = (name: string) => readFileSync(join(packageFolder, "parts", name), "utf8");
const serverPage = join(root, "packages", "server", "page");
const html = pageHtml(readFileSync(join(serverPage, "index.html"), "utf8"), {
  head: part("head.html").replace("POLICY", policy),
  models: part("models.html"),
});
writeFileSync(join(site, "index.html"), html);
copyFileSync(join(serverPage, "style.css"), join(site, "chat.css"));
copyFileSync(join(root, "models", "tiny.gguf"), join(site, "tiny.gguf"));
const files = readdirSync(site).sort();
await build({
  ...common,
  entryPoints: { sw: join(pages, "service-worker.js") },
  format: "iife",
  define: {
    FILES: JSON.stringify(files.map((file) => (file === "index.html" ? "./" : `./${file}`))),
    VERSION: JSON.stringify(hashOf(files)),
    POLICY: JSON.stringify(policy),
  },
});
