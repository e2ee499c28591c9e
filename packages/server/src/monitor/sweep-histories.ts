/** Histories of servers that are gone: where each start has another host name, as pods have, they would pile up in a shared folder. */
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { historyMs } from "./history.ts";

/** Removes those of others in which nothing has been written for longer than a history reaches back. */
export async function sweepHistories(folder: string, own: string, now: number): Promise<void> {
  const names = await readdir(folder).catch(() => [] as string[]);
  for (const name of names) {
    if (!/^monitor-.+-\d+$/.test(name) || name === own) continue;
    const path = join(folder, name);
    const files = await readdir(path).catch(() => [] as string[]);
    const times = await Promise.all(
      [path, ...files.map((file) => join(path, file))].map(
        async (each) => (await stat(each).catch(() => null))?.mtimeMs ?? now,
      ),
    );
    // Another server may be at it, too, or has just come back.
    if (now - Math.max(...times) > historyMs)
      await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}
