import { BitNetError } from "./errors.ts";

/** What is said of a file that cannot be opened or read: FILE_NOT_FOUND or IO_FAILED, with the path that the caller gave. */
export function unreadableFile(path: string, cause: unknown, details?: Record<string, unknown>): BitNetError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const options = details === undefined ? { cause } : { cause, details };
  return code === "ENOENT"
    ? new BitNetError("FILE_NOT_FOUND", `${path}: no such file`, options)
    : new BitNetError("IO_FAILED", `${path}: cannot be read (${message})`, options);
}
