/**
 * Files that appear under their name only when they are whole: written beside it under another name, then renamed. On failure, and when
 * the signal fires, nothing is left behind.
 */
import { type FileHandle, mkdir, open, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { BitNetError, type Conversion, type ConversionFile, throwIfAborted } from "@bitnet.ts/core";

interface WriteOptions {
  signal: AbortSignal;
  onBytes?: (written: number) => void;
}

/**
 * @returns Bytes written.
 * @throws BitNetError INVALID_ARGUMENT for a folder that exists, FILE_NOT_FOUND for one that is missing, IO_FAILED, ABORTED.
 */
export async function writeConversion(
  output: string,
  { kind, files }: Pick<Conversion, "kind" | "files">,
  options: WriteOptions,
): Promise<number> {
  await checkPlace(output, kind);
  const part = `${output.replace(/[/\\]+$/, "")}.${process.pid}.part`;
  try {
    if (kind === "folder") await mkdir(part);
    let written = 0;
    for (const file of files) {
      const path = kind === "folder" ? join(part, file.name ?? "") : part;
      const before = written;
      written += await writeFile(path, file, {
        ...options,
        onBytes: (bytes) => options.onBytes?.(before + bytes),
      });
    }
    await rename(part, output);
    return written;
  } catch (cause) {
    await rm(part, { recursive: true, force: true });
    if (cause instanceof BitNetError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === "ENOSPC" || code === "EDQUOT" ? "the disk is full" : (code ?? message);
    throw new BitNetError("IO_FAILED", `${output}: cannot be written (${reason}); nothing was left behind`, {
      cause,
    });
  }
}

async function checkPlace(output: string, kind: Conversion["kind"]): Promise<void> {
  const folder = dirname(resolve(output));
  await statfs(folder).catch((cause) => {
    throw new BitNetError("FILE_NOT_FOUND", `${output}: the folder ${folder} does not exist`, { cause });
  });
  const found = await stat(output).catch(() => null);
  if (found === null || (kind === "file" && found.isFile())) return;
  if (kind === "file" && found.isDirectory())
    throw new BitNetError("INVALID_ARGUMENT", `${output} is a folder; name a file in it`);
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${output}: exists, and only a file is replaced by a file; remove it or choose another name`,
  );
}

async function writeFile(
  path: string,
  { pieces }: ConversionFile,
  { signal, onBytes }: WriteOptions,
): Promise<number> {
  const file: FileHandle = await open(path, "wx");
  try {
    let written = 0;
    const write = async (piece: Uint8Array) => {
      for (let done = 0; done < piece.length; ) done += (await file.write(piece, done)).bytesWritten;
      written += piece.length;
      onBytes?.(written);
    };
    // One piece is written while the next one is made.
    let writing = Promise.resolve();
    try {
      for await (const piece of pieces) {
        throwIfAborted(signal);
        await writing;
        writing = write(piece);
        writing.catch(() => {}); // told above, or below
      }
    } finally {
      await writing;
    }
    await file.sync();
    return written;
  } finally {
    await file.close();
  }
}
