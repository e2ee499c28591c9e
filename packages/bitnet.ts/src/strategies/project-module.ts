/** Finds and loads a library of the user's project, which is nobody's dependency here. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

interface Manifest {
  version?: unknown;
  main?: unknown;
  module?: unknown;
  exports?: unknown;
}

export interface FoundModule {
  version: string;
  /** Its entry file. */
  path: string;
}

/** Null where neither the project nor a folder above it has the package. */
export function findModule(name: string, project: string): FoundModule | null {
  for (let folder = resolve(project); ; folder = dirname(folder)) {
    const root = join(folder, "node_modules", name);
    const manifestPath = join(root, "package.json");
    if (existsSync(manifestPath)) {
      const manifest = JSON.parse(readFileSync(manifestPath, "utf8")) as Manifest;
      const entry =
        entryOf(manifest.exports) ?? textOr(manifest.module) ?? textOr(manifest.main) ?? "index.js";
      return { version: textOr(manifest.version) ?? "?", path: join(root, entry) };
    }
    if (dirname(folder) === folder) return null;
  }
}

export async function loadModule<T>(name: string, project: string): Promise<T> {
  const found = findModule(name, project);
  if (found === null) throw new Error(`${name} is not installed in ${resolve(project)}`);
  const loaded = (await import(pathToFileURL(found.path).href)) as { default?: object };
  // A CommonJS library may show its names on `default` only.
  return { ...loaded.default, ...loaded } as T;
}

/** What `import` takes of the field `exports`. */
function entryOf(exports: unknown): string | null {
  if (typeof exports === "string") return exports;
  if (Array.isArray(exports)) return exports.map(entryOf).find((entry) => entry !== null) ?? null;
  if (typeof exports !== "object" || exports === null) return null;
  const table = exports as Record<string, unknown>;
  if ("." in table) return entryOf(table["."]);
  for (const condition of ["node", "import", "module", "default", "require"]) {
    const entry = condition in table ? entryOf(table[condition]) : null;
    if (entry !== null) return entry;
  }
  return null;
}

function textOr(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
