/**
 * Finds the compiled kernels: those of the prebuilt package of this platform, else what `bitnet.ts build-native` or a checkout's build has
 * made here. Knows of them only that they bear a version.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { BitNetError } from "@bitnet.ts/core";
import { openTrainerPackage, targets } from "@bitnet.ts/native/trainer";

/** Where the addon of an architecture lies once it is built. */
export function trainerPath(arch: string = process.arch): string {
  return fileURLToPath(
    new URL(`../../native/build/${process.platform}-${arch}/bitnet.node`, import.meta.url),
  );
}

interface VersionedAddon {
  readonly bindingVersion: number;
}

/** @throws BitNetError BACKEND_UNAVAILABLE, its message one sentence that says what to do. */
export function findAddon<T extends VersionedAddon>(version: number): T {
  const system = `${process.platform}-${process.arch}`;
  const failures: string[] = [];
  const check = (place: string, open: () => T): T | null => {
    try {
      const addon = open();
      if (addon.bindingVersion === version) return addon;
      failures.push(`${place} belongs to another version`);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // The first line: Node adds the stack of the requires.
      if (code !== "MODULE_NOT_FOUND") failures.push(`${place} cannot be loaded (${message.split("\n")[0]})`);
    }
    return null;
  };
  for (const target of targets.filter((each) => each === system || each.startsWith(`${system}-`))) {
    const found = check(`@bitnet.ts/native-${target}`, () => opened<T>(openTrainerPackage(target)));
    if (found !== null) return found;
  }
  const built = trainerPath();
  const found = existsSync(built) ? check(built, () => createRequire(import.meta.url)(built) as T) : null;
  if (found !== null) return found;
  const what = failures.length === 0 ? `there are none for ${system}` : failures.join("; ");
  throw new BitNetError(
    "BACKEND_UNAVAILABLE",
    `training: no native kernels (${what}): run "npx bitnet.ts build-native", which needs a C++20 compiler`,
  );
}

function opened<T>(result: { addon: unknown } | { error: unknown }): T {
  if ("error" in result) throw result.error;
  return result.addon as T;
}
