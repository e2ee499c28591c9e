/** What a page has to load, as docs/guide/browser.md states it. Needs the built package. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { root } from "./packed-project.ts";

const worker = join(root, "packages", "bitnet.ts", "worker");
const zipped = (bytes: Uint8Array) => gzipSync(bytes, { level: 9 }).length;

test("every file that a worker loads stays below its bound, and names nothing of Node", () => {
  const bounds: Record<string, number> = {
    "bitnet-plain.wasm": 400_000,
    "bitnet-relaxed.wasm": 400_000,
    "grammar-worker.js": 400_000,
    "wasm-worker.js": 5_000,
    "worker.js": 175_000,
  };
  expect(readdirSync(worker).sort()).toEqual(Object.keys(bounds));
  for (const [name, most] of Object.entries(bounds)) {
    const bytes = readFileSync(join(worker, name));
    expect(zipped(bytes), name).toBeLessThan(most);
    if (name.endsWith(".js")) expect(bytes.toString(), name).not.toMatch(/["']node:|\beval\(|new Function\(/);
  }
});

test("the documents state these sizes", () => {
  const read = (...path: string[]) => readFileSync(join(root, ...path), "utf8");
  const stated = (text: string, pattern: RegExp) => (pattern.exec(text) ?? []).slice(1).map(Number);
  const kB = (name: string) => zipped(readFileSync(join(worker, name))) / 1000;
  const [relaxed, plain] = [kB("bitnet-relaxed.wasm"), kB("bitnet-plain.wasm")];
  const guide = read("docs", "guide", "browser.md");
  const claims: [found: number[], actual: number[]][] = [
    [stated(guide, /^\| the worker \|.*\| (\d+) kB/m), [kB("worker.js")]],
    [stated(guide, /^\| the grammar compiler.*\| (\d+) kB/m), [kB("grammar-worker.js")]],
    [stated(guide, /^\| WebAssembly.*\| (\d+) \/ (\d+) kB/m), [relaxed, plain]],
    [stated(read("docs", "wasm.md"), /(\d+) and (\d+) kB compressed/), [relaxed, plain]],
    [
      stated(read("README.md"), /a worker of (\d+) kB and (\d+) kB of WebAssembly \((\d+) without/),
      [kB("worker.js"), relaxed, plain],
    ],
  ];
  for (const [found, actual] of claims) {
    expect(found).toHaveLength(actual.length);
    for (const [i, size] of actual.entries())
      expect(Math.abs((found[i] ?? 0) / size - 1), `${found[i]} kB`).toBeLessThan(0.05);
  }
});

test("the page itself carries no engine", async () => {
  const contents = `import { BitNet } from "bitnet.ts"; globalThis.BitNet = BitNet;`;
  const { metafile, outputFiles } = await build({
    stdin: { contents, resolveDir: import.meta.dirname, sourcefile: "page.js" },
    ...{ bundle: true, format: "esm", minify: true, splitting: true, metafile: true, write: false },
    outdir: "/out",
    logLevel: "error",
  });
  const { outputs } = metafile;
  const names = Object.keys(outputs);
  const seen = new Set<string>();
  const visit = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const { path, kind } of outputs[name]?.imports ?? []) if (kind === "import-statement") visit(path);
  };
  visit(names.find((name) => outputs[name]?.entryPoint !== undefined) ?? "");
  const inputs = [...seen].flatMap((name) => Object.keys(outputs[name]?.inputs ?? {}));
  expect(inputs.filter((path) => /core\/dist\/(backend|generate|convert)\//.test(path))).toEqual([]);
  const files = outputFiles.filter(({ path }) =>
    [...seen].some((name) => path.endsWith(name.replace(/^.*\//, "/"))),
  );
  expect(files.length).toBe(seen.size);
  expect(files.reduce((sum, { contents: bytes }) => sum + zipped(bytes), 0)).toBeLessThan(45_000);
  for (const { text } of files) expect(text).not.toMatch(/["']node:/);
});
