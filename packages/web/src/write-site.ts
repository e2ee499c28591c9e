/** Copies the page's static files for a host of the user's own. */
import { cp, mkdir, readdir } from "node:fs/promises";
import { BitNetError } from "@bitnet.ts/core";
import { siteFolder } from "./web-server.ts";

/**
 * Fills `folder`, which must be new or empty.
 * @returns Names of the files.
 * @throws BitNetError INVALID_ARGUMENT for a folder that holds something, IO_FAILED.
 */
export async function writeSite(folder: string): Promise<string[]> {
  const site = siteFolder();
  try {
    await mkdir(folder, { recursive: true });
    if ((await readdir(folder)).length > 0)
      throw new BitNetError("INVALID_ARGUMENT", `${folder}: expected a new or empty folder`);
    await cp(site, folder, { recursive: true });
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    throw new BitNetError("IO_FAILED", `${folder}: cannot be written (${(cause as Error).message})`, {
      cause,
    });
  }
  return (await readdir(folder)).sort();
}
