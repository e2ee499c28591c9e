/**
 * Makes the tarballs that are published from this machine: every package of the workspace, and the prebuilt packages
 * `@bitnet.ts/native-<platform>-<arch>[-libc]` of the addons, the backend's and the trainer's, that can be compiled here, on Linux that for the other architecture too
 * where its cross compiler is installed.
 * Usage: npm run pack [-- folder], default build/packages
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve, sep } from "node:path";
import { addonPath, buildPackage, crossCompiler, prebuiltTargets } from "@bitnet.ts/native/build/package";
import { buildTrainer, trainerPath } from "@bitnet.ts/train/build";

const root = resolve(import.meta.dirname, "..", "..");
const out = resolve(process.argv[2] ?? join(root, "build", "packages"));
const stages = join(root, "build", "pack");

interface Manifest {
  name: string;
  version: string;
  license: string;
  [key: string]: unknown;
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

function writeManifest(folder: string, manifest: Manifest): void {
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** A fresh folder that gets what goes into the tarball. */
function stageOf(name: string): string {
  const folder = join(stages, name.replaceAll("/", "-"));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  return folder;
}

function pack(folder: string): void {
  const args = ["pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", out];
  const npm = process.env.npm_execpath;
  const [program, ...leading] = npm?.endsWith(".js") ? [process.execPath, npm] : ["npm"];
  execFileSync(program, [...leading, ...args], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
}

/** False for what the compiler once made of a source that is gone. */
function hasSource(folder: string, path: string): boolean {
  const [, compiled] =
    /^dist\/(.*?)(?:\.d\.ts|\.js|\.js\.map)$/.exec(relative(folder, path).replaceAll(sep, "/")) ?? [];
  return compiled === undefined || existsSync(join(folder, "src", `${compiled}.ts`));
}

function packWorkspace(source: string): void {
  const manifest = readManifest(source);
  const folder = stageOf(manifest.name);
  const skipped = new Set(["node_modules", "src", "build", "models"].map((name) => join(source, name)));
  const wanted = (path: string) => !skipped.has(path) && hasSource(source, path);
  cpSync(source, folder, { recursive: true, filter: wanted });
  if (manifest.name === "bitnet.ts") {
    copyFileSync(join(root, "README.md"), join(folder, "README.md"));
    mkdirSync(join(folder, "models"));
    for (const file of ["tiny.gguf", "README.md"])
      copyFileSync(join(root, "models", file), join(folder, "models", file));
  }
  // Not in the workspace's manifest: `npm ci` would look for packages that the registry gets only with this very release.
  if (manifest.name === "@bitnet.ts/native")
    manifest.optionalDependencies = Object.fromEntries(
      prebuiltTargets.map((target) => [`@bitnet.ts/native-${target}`, manifest.version]),
    );
  writeManifest(folder, manifest);
  pack(folder);
}

function packPrebuilt(arch: string, version: string, license: string): void {
  const { platform } = process;
  const libc = platform === "linux" ? [hasGlibc() ? "gnu" : "musl"] : [];
  const target = [platform, arch, ...libc].join("-");
  if (!prebuiltTargets.includes(target))
    throw new Error(`pack: ${target} is no target of platform-package.cjs`);
  const name = `@bitnet.ts/native-${target}`;
  const folder = stageOf(name);
  copyFileSync(addonPath(arch), join(folder, "bitnet.node"));
  copyFileSync(trainerPath(arch), join(folder, "trainer.node"));
  writeFileSync(
    join(folder, "README.md"),
    `# ${name}\n\nThe compiled kernels of [bitnet.ts](https://www.npmjs.com/package/bitnet.ts) for ${target}. Installed by itself; nothing to import.\n`,
  );
  writeManifest(folder, {
    name,
    version,
    description: `Compiled SIMD kernels of bitnet.ts for ${target}`,
    license,
    type: "commonjs",
    main: "bitnet.node",
    files: ["bitnet.node", "trainer.node"],
    engines: { node: ">=20.19.0" },
    os: [platform],
    cpu: [arch],
    ...(libc.length === 0 ? {} : { libc: libc.map((each) => (each === "gnu" ? "glibc" : each)) }),
  });
  pack(folder);
}

function hasGlibc(): boolean {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime !== undefined;
}

async function build(...args: Parameters<typeof buildTrainer>): Promise<void> {
  for (const make of [buildPackage, buildTrainer]) {
    const outcome = await make(...args);
    if (outcome !== "built") throw new Error(`pack: an addon was not built (${outcome})`);
  }
}

const say = (text: string) => process.stderr.write(text);
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const { workspaces } = readManifest(root) as unknown as { workspaces: string[] };
for (const workspace of workspaces) packWorkspace(join(root, workspace));
const { version, license } = readManifest(join(root, "packages", "native"));
await build(say);
packPrebuilt(process.arch, version, license);
const other = process.arch === "x64" ? "arm64" : "x64";
const compiler = crossCompiler(other);
if (compiler !== undefined && hasGlibc()) {
  await build(say, { arch: other, compiler });
  packPrebuilt(other, version, license);
} else if (process.platform === "linux")
  say(`pack: no cross compiler for ${other}; its package is left out\n`);
say(`pack: ${out}\n`);
