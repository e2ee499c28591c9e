/** Opens local files as byte sources. The only place of core that touches the file system. */
import { type FileHandle, open } from "node:fs/promises";
import { resolve } from "node:path";
import { type ByteSource, checkRange } from "./byte-source.ts";
import { BitNetError } from "./errors.ts";

/** Node reads at most 2 GiB − 1 at a time. */
const maxReadBytes = 2 ** 30;

/** @throws BitNetError FILE_NOT_FOUND or IO_FAILED. */
export async function openFileSource(path: string): Promise<ByteSource> {
  const absolute = resolve(path);
  let handle: FileHandle;
  try {
    handle = await open(absolute, "r");
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new BitNetError(
      missing ? "FILE_NOT_FOUND" : "IO_FAILED",
      missing ? `${path}: no such file` : `${path}: cannot be opened (${(cause as Error).message})`,
      { cause, details: { path: absolute } },
    );
  }
  const stat = await handle.stat();
  if (!stat.isFile()) {
    await handle.close();
    throw new BitNetError("INVALID_ARGUMENT", `${path}: expected a file, found something else`, {
      details: { path: absolute },
    });
  }
  return fileSource(handle, path, absolute, stat.size);
}

function fileSource(handle: FileHandle, name: string, path: string, size: number): ByteSource {
  return {
    name,
    size,
    path,
    async read(offset, length) {
      checkRange(name, size, offset, length);
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(
          bytes,
          done,
          Math.min(length - done, maxReadBytes),
          offset + done,
        );
        if (bytesRead === 0) {
          throw new BitNetError(
            "FORMAT_TRUNCATED",
            `${name}: ended at byte ${offset + done} while it was being read`,
            {
              details: { path, offset: offset + done },
            },
          );
        }
        done += bytesRead;
      }
      return bytes;
    },
    async close() {
      await handle.close();
    },
  };
}
