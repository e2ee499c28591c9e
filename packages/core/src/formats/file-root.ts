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
      /** Null when there is no such file. */
      open(fileName: string): Promise<ByteSource | null>;
    };

/** True for the name of a file in a folder, false for anything that could lead out of it. */
export function isPlainFileName(name: string): boolean {
  return name.length > 0 && name.length <= 255 && name !== "." && name !== ".." && !/[/\\:\0]/.test(name);
}
