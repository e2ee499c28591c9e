/** Writes files whole or not at all: under another name first, flushed to the disk, then renamed. */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { BitNetError } from "@bitnet.ts/core";

/**
 * @returns Bytes written and their SHA-256. On failure nothing is left behind.
 * @throws BitNetError IO_FAILED
 */
export async function writeWhole(
  path: string,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<{ bytes: number; sha256: string }> {
  const part = `${path}.${process.pid}.part`;
  const hash = createHash("sha256");
  let file: FileHandle | undefined;
  let bytes = 0;
  try {
    file = await open(part, "w");
    for await (const piece of pieces) {
      hash.update(piece);
      for (let done = 0; done < piece.length; ) done += (await file.write(piece, done)).bytesWritten;
      bytes += piece.length;
    }
    await file.sync();
    await file.close();
    await rename(part, path);
    return { bytes, sha256: hash.digest("hex") };
  } catch (cause) {
    await file?.close().catch(() => {});
    await rm(part, { force: true });
    if (cause instanceof BitNetError) throw cause;
    throw new BitNetError("IO_FAILED", `${path}: cannot be written (${(cause as Error).message})`, { cause });
  }
}

/** With the folders above it. @throws BitNetError IO_FAILED, also where a file stands in its place. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new BitNetError("IO_FAILED", `${folder}: the folder cannot be made (${(cause as Error).message})`, {
      cause,
    });
  }
}

export function writeJson(path: string, value: unknown): Promise<{ bytes: number; sha256: string }> {
  return writeWhole(path, [new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)]);
}
