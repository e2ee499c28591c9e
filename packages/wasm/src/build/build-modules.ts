/**
 * Builds the two WebAssembly modules into `dist/`. Objects are kept under `build/` by a hash of everything they depend on, so that a build
 * without changes only compares.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { type FileTexts, sourceHash } from "@bitnet.ts/native/build/sources";
import type { Tree } from "@yowasp/clang";
import { runClang, toolchainIdentity } from "./toolchain.ts";
import { commonFlags, linkFlags, type ModuleKind, unitsOf, type WasmUnit } from "./units.ts";

const packageFolder = fileURLToPath(new URL("../../", import.meta.url));
const engineFolder = fileURLToPath(new URL("../../../native/engine/", import.meta.url));
const objectFolder = join(packageFolder, "build");

/** Where a module lies once it is built. */
function modulePath(kind: ModuleKind): string {
  return join(packageFolder, "dist", `bitnet-${kind}.wasm`);
}

/**
 * @param say Receives what a person should read, in whole lines.
 * @throws Error with the compiler's words when it fails or warns.
 */
export async function buildModules(say: (text: string) => void): Promise<void> {
  mkdirSync(objectFolder, { recursive: true });
  mkdirSync(join(packageFolder, "dist"), { recursive: true });
  const identity = toolchainIdentity();
  const texts: FileTexts = new Map();
  const kept = new Set<string>();
  for (const kind of ["relaxed", "plain"] as const) {
    const plans = unitsOf(kind).map((unit) => ({ unit, object: objectOf(unit, identity, texts) }));
    for (const { object } of plans) kept.add(object);
    const stamp = createHash("sha256")
      .update([identity, ...plans.map(({ object }) => object), ...linkFlags].join("\0"))
      .digest("hex");
    const path = modulePath(kind);
    const stampPath = join(objectFolder, `${kind}.stamp`);
    if (existsSync(path) && existsSync(stampPath) && readFileSync(stampPath, "utf8") === stamp) {
      say(`wasm: ${path} is up to date\n`);
      continue;
    }
    const began = performance.now();
    const missing = plans.filter(({ object }) => !existsSync(object));
    for (const [i, { unit, object }] of missing.entries()) {
      say(`wasm: compiling ${unit.name} (${i + 1} of ${missing.length})\n`);
      writeWhole(object, await compile(unit));
    }
    const module = await link(plans.map(({ object }) => object));
    checkImports(module);
    writeWhole(path, module);
    writeFileSync(stampPath, stamp);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    say(`wasm: ${path}: ${missing.length} of ${plans.length} units compiled in ${seconds} s\n`);
  }
  for (const file of readdirSync(objectFolder))
    if (file.endsWith(".o") && !kept.has(join(objectFolder, file))) rmSync(join(objectFolder, file));
}

function objectOf(unit: WasmUnit, identity: string, texts: FileTexts): string {
  const hash = createHash("sha256").update([identity, ...commonFlags, ...unit.flags].join("\0"));
  for (const file of unit.files) hash.update(sourceHash(join(engineFolder, file), [], texts));
  return join(objectFolder, `${unit.name}-${hash.digest("hex").slice(0, 24)}.o`);
}

function compile({ files, flags }: WasmUnit): Promise<Uint8Array> {
  const text = files.map((file) => `#include "engine/${file}"\n`).join("");
  // Includes by "../" are looked up from these folders: the compiler's file system does not resolve them.
  const folders = ["", "/kernels", "/wasm", "/kernels/wasm"].map((folder) => `-Iengine${folder}`);
  const tree = { "unit.cc": text, engine: sourceTree(engineFolder) };
  return runClang([...commonFlags, ...flags, "-I.", ...folders, "-c", "unit.cc"], tree, "unit.o");
}

function link(objects: readonly string[]): Promise<Uint8Array> {
  const names = objects.map((_, i) => `${i}.o`);
  const tree: Tree = Object.fromEntries(objects.map((path, i) => [`${i}.o`, readFileSync(path)]));
  return runClang([...linkFlags, ...names], tree, "module.wasm");
}

/** A module that needs more than memory would need a system. */
function checkImports(module: Uint8Array): void {
  // Node 20 has relaxed SIMD behind a flag.
  setFlagsFromString("--experimental-wasm-relaxed-simd");
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(module as BufferSource));
  const strange = imports.filter(({ kind }) => kind !== "memory").map(({ name }) => name);
  if (strange.length > 0) throw new Error(`wasm: the module imports ${strange.join(", ")}`);
}

/** Tests of the engine are left out. */
function sourceTree(folder: string): Tree {
  const tree: Tree = {};
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) {
      if (name !== "test") tree[name] = sourceTree(path);
    } else if (/\.(?:cc|h)$/.test(name)) {
      tree[name] = readFileSync(path);
    }
  }
  return tree;
}

/** Never half a file under its name. */
function writeWhole(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, bytes);
  renameSync(temporary, path);
}
