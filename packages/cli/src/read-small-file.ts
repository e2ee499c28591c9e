/** Files that are read whole and at once: recipes, texts to judge, secrets. */
import { readFileSync } from "node:fs";
import { BitNetError } from "@bitnet.ts/core";

/**
 * @param what Ahead of "cannot be read" in the error, where the path alone does not tell.
 * @throws BitNetError FILE_NOT_FOUND.
 */
export function readSmallFile(path: string, what?: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const subject = what === undefined ? "" : `${what} `;
    throw new BitNetError("FILE_NOT_FOUND", `${path}: ${subject}cannot be read (${code})`, { cause });
  }
}
