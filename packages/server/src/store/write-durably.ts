/** Files that others find whole: written under a name of their own and on the disk before they get the one that is looked for. */
import { open } from "node:fs/promises";

/** Writes a new file, for its owner alone, and returns when its content would outlast a loss of power. @throws EEXIST and what the disk says. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const handle = await open(path, "wx", 0o600);
  try {
    await handle.writeFile(text);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
