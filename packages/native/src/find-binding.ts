/**
 * Finds the compiled addon: the file that BITNET_NATIVE_PATH names, else the prebuilt package of this platform, else what
 * `build/build-package.ts` made here. Knows of the addon only that it bears a version.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { openPlatformPackage, targets } from "../platform-package.cjs";

export interface VersionedBinding {
  readonly encodingVersion: number;
}

export type FoundBinding<T extends VersionedBinding> =
  | { binding: T; path: string }
  | { binding: null; reason: string };

/** `reason`, where there is none, is one sentence that says what to do. */
export function findBinding<T extends VersionedBinding>(encodingVersion: number): FoundBinding<T> {
  const { BITNET_NATIVE_PATH: named } = process.env;
  if (named) return check(resolve(named), () => openAddon<T>(resolve(named)), encodingVersion);
  const system = `${process.platform}-${process.arch}`;
  const failures: string[] = [];
  for (const target of targets.filter((each) => each === system || each.startsWith(`${system}-`))) {
    const name = `@bitnet.ts/native-${target}`;
    const found = check(name, () => openPackage<T>(target), encodingVersion);
    if (!("reason" in found)) return found;
    if (!found.isMissing) failures.push(found.reason);
  }
  const built = builtPath(system);
  if (existsSync(built)) return check(built, () => openAddon<T>(built), encodingVersion);
  return { binding: null, reason: whatToDo(system, failures) };
}

type Checked<T> = { binding: T; path: string } | { binding: null; reason: string; isMissing: boolean };

function check<T extends VersionedBinding>(path: string, open: () => T, encodingVersion: number): Checked<T> {
  try {
    const binding = open();
    if (binding.encodingVersion === encodingVersion) return { binding, path };
    const reason = `${path} belongs to another version of @bitnet.ts/native`;
    return { binding: null, reason, isMissing: false };
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND";
    // The first line: Node adds the stack of the requires.
    const [message = ""] = (error as Error).message.split("\n");
    return { binding: null, reason: `${path} cannot be loaded (${message})`, isMissing };
  }
}

function openPackage<T>(target: string): T {
  const opened = openPlatformPackage(target);
  if ("error" in opened) throw opened.error;
  return opened.addon as T;
}

/** As `require` opens it, but unseen by bundlers, which would look for the file when they build. */
function openAddon<T>(path: string): T {
  const holder = { exports: {} };
  process.dlopen(holder, path);
  return holder.exports as T;
}

/** The folder above this file: of the package, unless a bundler has moved the code. */
function packageFolder(): string {
  return dirname(dirname(fileURLToPath(import.meta.url)));
}

function builtPath(system: string): string {
  return join(packageFolder(), "build", system, "bitnet.node");
}

/** One sentence. What a bundler made of the requires would only mislead. */
function whatToDo(system: string, failures: readonly string[]): string {
  if (isBundled())
    return "the native binary is not in this bundle: mark @bitnet.ts/native as external, or let BITNET_NATIVE_PATH name a bitnet.node";
  const subject = failures.length === 0 ? `there is no native binary for ${system}` : failures.join("; ");
  return `${subject}: run "npx bitnet.ts build-native", which needs a C++20 compiler`;
}

function isBundled(): boolean {
  const path = join(packageFolder(), "package.json");
  if (!existsSync(path)) return true;
  const { name } = JSON.parse(readFileSync(path, "utf8")) as { name?: string };
  return name !== "@bitnet.ts/native";
}
