/** Opens local files as byte sources. The only place of core that touches the file system. */
import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { type ByteSource, checkRange } from "./byte-source.ts";
import { BitNetError } from "./errors.ts";
import { unreadableFile } from "./unreadable-file.node.ts";

/** Node reads at most 2 GiB − 1 at a time. */
const maxReadBytes = 2 ** 30;

/** Opening a pipe that nobody writes to must not wait, should one take the place of a file; absent on Windows. */
const openFlags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** @throws BitNetError FILE_NOT_FOUND, IO_FAILED, or INVALID_ARGUMENT for what is no regular file. */
export async function openFileSource(path: string): Promise<ByteSource> {
  const absolute = resolve(path);
  let handle: FileHandle;
  try {
    // Before it is opened: that alone has effects on some devices.
    refuseOthers(await stat(absolute), path, absolute);
    handle = await open(absolute, openFlags);
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    throw unreadableFile(path, cause, { path: absolute });
  }
  try {
    const stats = await handle.stat();
    refuseOthers(stats, path, absolute);
    return fileSource(handle, path, absolute, stats.size);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function refuseOthers(stats: Stats, path: string, absolute: string): void {
  if (stats.isFile()) return;
  const found = stats.isDirectory()
    ? "a folder"
    : stats.isFIFO()
      ? "a pipe"
      : stats.isSocket()
        ? "a socket"
        : "a device";
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${path}: expected a file, found ${found}; models are read at random places, so save it to a file first`,
    { details: { path: absolute } },
  );
}

function fileSource(handle: FileHandle, name: string, path: string, size: number): ByteSource {
  return {
    name,
    size,
    path,
    async read(offset, length) {
      checkRange(name, size, offset, length); // before as much is allocated
      const bytes = new Uint8Array(length);
      await readInto(offset, bytes);
      return bytes;
    },
    readInto,
    async close() {
      await handle.close();
    },
  };

  async function readInto(offset: number, target: Uint8Array): Promise<void> {
    const { length } = target;
    checkRange(name, size, offset, length);
    for (let done = 0; done < length; ) {
      const count = Math.min(length - done, maxReadBytes);
      const { bytesRead } = await handle.read(target, done, count, offset + done);
      if (bytesRead === 0)
        throw new BitNetError(
          "FORMAT_TRUNCATED",
          `${name}: ended at byte ${offset + done} while it was being read`,
          { details: { path, offset: offset + done } },
        );
      done += bytesRead;
    }
  }
}
