/** Where a model is: one file, or a folder of files that are opened by name. Knows nothing of formats. */
import type { ByteSource } from "../base/byte-source.ts";

export type FileRoot =
  | {
      kind: "file";
      source: ByteSource;
      /** Another file in the same place (the parts of a split model); null when it is not there. */
      openSibling?: (fileName: string) => Promise<ByteSource | null>;
    }
  | {
      kind: "folder";
      /** For messages. */
      name: string;
      /** Of a file in the folder, or in a folder of it; null when there is no such file. */
      open(fileName: string): Promise<ByteSource | null>;
      /** Names of its files, where they can be listed. */
      names?: readonly string[];
    };

/** True for the name of a file in a folder or in a folder of that (`1_Pooling/config.json`). */
export function isPlainPath(path: string): boolean {
  const parts = path.split("/");
  return parts.length <= 2 && parts.every(isPlainFileName);
}

/** True for the name of a file in a folder, false for anything that could lead out of it. */
export function isPlainFileName(name: string): boolean {
  return name.length > 0 && name.length <= 255 && name !== "." && name !== ".." && !/[/\\:\0]/.test(name);
}
