/**
 * What stands on what: the layers of core, the packages, and the C++ of the engine. import-law.ts holds the sources to it, and floors-drawing.ts draws it.
 */

/** Folders of core: each imports those of lower floors and itself. */
export const coreFloors: Readonly<Record<string, number>> = {
  base: 0,
  packing: 1,
  formats: 2,
  tokenizer: 2,
  backend: 3,
  model: 4,
  generate: 5,
  convert: 5,
};

/** What the sources of a package may import; a prefix stands for what is below it. */
export const allowedPackages: Readonly<Record<string, readonly string[]>> = {
  core: [],
  native: ["@bitnet.ts/core"],
  wasm: ["@bitnet.ts/core", "@bitnet.ts/native/build/sources"],
  webgpu: ["@bitnet.ts/core"],
  "bitnet.ts": [
    "@bitnet.ts/core",
    "@bitnet.ts/grammar",
    "@bitnet.ts/native",
    "@bitnet.ts/webgpu",
    "@bitnet.ts/wasm",
  ],
  grammar: ["@bitnet.ts/core"],
  server: ["@bitnet.ts/core", "@bitnet.ts/grammar", "bitnet.ts"],
  train: ["@bitnet.ts/core", "@bitnet.ts/native"],
  eval: ["@bitnet.ts/core", "bitnet.ts"],
  web: ["@bitnet.ts/core", "bitnet.ts", "@bitnet.ts/server"],
  cli: [
    "@bitnet.ts/core",
    "bitnet.ts",
    "@bitnet.ts/server",
    "@bitnet.ts/web",
    "@bitnet.ts/train",
    "@bitnet.ts/eval",
  ],
};

/** Folders of packages/native with C++: each includes headers of lower floors and its own. */
export const engineFloors: Readonly<Record<string, number>> = {
  "engine/kernels": 0,
  engine: 1,
  node: 2,
};

/** The package of this workspace that a specifier leads to. */
export function packageOf(specifier: string): string {
  return specifier.replace(/^@bitnet\.ts\//, "").replace(/\/.*$/, "");
}
