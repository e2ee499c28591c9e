/**
 * Enforces the import law of floors.ts: a folder of core imports only lower layers and itself, no file is part of an import cycle, only the
 * facade imports a backend, core touches Node only in files named *.node.ts, and the engine's C++ knows nothing of what stands on it. Reads
 * sources as text.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { allowedPackages, coreFloors, engineFloors } from "./floors.ts";

const root = resolve(import.meta.dirname, "..", "..");
const core = join(root, "packages", "core", "src");
const native = join(root, "packages", "native");

interface SourceFile {
  path: string;
  text: string;
  imports: string[];
}

function listSources(folder: string, pattern = /\.ts$/): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function readSource(path: string): SourceFile {
  const text = readFileSync(path, "utf8");
  const pattern = /(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s+)["']([^"']+)["']/gm;
  return { path, text, imports: [...text.matchAll(pattern)].map((match) => match[1] ?? "") };
}

function layerOf(path: string): number | null {
  const [folder = ""] = relative(core, path).split(sep);
  return coreFloors[folder] ?? null;
}

function checkCore(file: SourceFile): string[] {
  const where = relative(root, file.path);
  const problems: string[] = [];
  const isTest = file.path.endsWith(".test.ts");
  const isNode = file.path.endsWith(".node.ts") || isTest;
  const own = layerOf(file.path);
  for (const specifier of file.imports) {
    if (specifier.startsWith("node:") && !isNode)
      problems.push(`${where}: imports ${specifier}; only *.node.ts may`);
    if (!specifier.startsWith(".") || own === null) continue;
    const target = resolve(dirname(file.path), specifier);
    const other = layerOf(target);
    if (!isNode && target.endsWith(".node.ts"))
      problems.push(`${where}: imports ${specifier}; only *.node.ts may`);
    const sameFolder = relative(core, target).split(sep)[0] === relative(core, file.path).split(sep)[0];
    if (other === null || (!sameFolder && other >= own))
      problems.push(`${where}: layer ${own} imports ${specifier} of layer ${other ?? "index"}`);
  }
  if (!isNode && /(?<![.\w"'`])(?:process\.|Buffer\b(?!\s*[:;,)]))/.test(stripComments(file.text)))
    problems.push(`${where}: uses a Node global`);
  return problems;
}

/** Headers that a C++ source of the engine includes of a higher floor, or from outside of its package. */
function checkIncludes(path: string): string[] {
  const folderOf = (file: string) =>
    Object.keys(engineFloors)
      .filter((folder) => file.startsWith(join(native, folder) + sep))
      .reduce<string | undefined>(
        (best, folder) => (best === undefined || folder.length > best.length ? folder : best),
        undefined,
      );
  const own = engineFloors[folderOf(path) ?? ""] ?? 0;
  const includes = [...readFileSync(path, "utf8").matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)];
  return includes.flatMap(([, header = ""]) => {
    const folder = folderOf(resolve(dirname(path), header));
    return folder !== undefined && (engineFloors[folder] ?? 0) <= own
      ? []
      : [`${relative(root, path)}: includes ${header} of ${folder ?? "another package"}`];
  });
}

function stripComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, "");
}

function checkPackages(name: string, file: SourceFile): string[] {
  const allowed = allowedPackages[name] ?? [];
  return file.imports
    .filter((specifier) => /^(@bitnet\.ts\/|bitnet\.ts($|\/))/.test(specifier))
    .filter(
      (specifier) => !allowed.some((prefix) => specifier === prefix || specifier.startsWith(`${prefix}/`)),
    )
    .map((specifier) => `${relative(root, file.path)}: package ${name} may not import ${specifier}`);
}

/** First import cycle among relative imports, as a path of files; type-only edges count as well. */
function findCycle(files: readonly SourceFile[]): string[] | null {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const state = new Map<string, "open" | "done">();
  const visit = (path: string, trail: string[]): string[] | null => {
    if (state.get(path) === "done") return null;
    if (state.get(path) === "open") return [...trail.slice(trail.indexOf(path)), path];
    state.set(path, "open");
    for (const specifier of byPath.get(path)?.imports ?? []) {
      if (!specifier.startsWith(".")) continue;
      const cycle = visit(resolve(dirname(path), specifier), [...trail, path]);
      if (cycle) return cycle;
    }
    state.set(path, "done");
    return null;
  };
  for (const file of files) {
    const cycle = visit(file.path, []);
    if (cycle) return cycle;
  }
  return null;
}

const problems: string[] = [];
for (const name of Object.keys(allowedPackages)) {
  const files = listSources(join(root, "packages", name, "src")).map(readSource);
  for (const file of files) {
    problems.push(...checkPackages(name, file));
    if (name === "core") problems.push(...checkCore(file));
  }
  const cycle = findCycle(files);
  if (cycle) problems.push(`import cycle: ${cycle.map((path) => relative(root, path)).join(" → ")}`);
}
for (const folder of ["engine", "node"])
  problems.push(...listSources(join(native, folder), /\.(cc|h)$/).flatMap(checkIncludes));
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
