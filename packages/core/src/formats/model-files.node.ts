/** Finds a model on the local disk: a file, or a folder that holds one. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { openFileSource } from "../base/byte-source.node.ts";
import type { ByteSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";
import { type FileRoot, isPlainPath } from "./file-root.ts";

/**
 * A GGUF file, a Hugging Face folder (a model or a PEFT adapter), or a folder with exactly one GGUF model (which may be split into parts)
 * and no safetensors beside it.
 * @throws BitNetError FILE_NOT_FOUND, IO_FAILED, INVALID_ARGUMENT (neither file nor folder).
 */
export async function openPath(path: string): Promise<FileRoot> {
  if (!(await isFolder(path))) return fileRoot(path);
  const names = await namesIn(path);
  const models = names.filter(
    (name) => name.toLowerCase().endsWith(".gguf") && !/-(?!00001)\d{5}-of-\d{5}\.gguf$/.test(name),
  );
  const hasConfig = names.includes("config.json") || names.includes("adapter_config.json");
  // Repositories of GGUF files have a config.json, too, and no weights that it would belong to.
  const hasWeights = names.some((name) => /\.safetensors(\.index\.json)?$/.test(name));
  if (hasConfig && (hasWeights || models.length === 0))
    return { kind: "folder", name: path, open: openerIn(path), names };
  const [only, another] = models.sort();
  if (only !== undefined && another === undefined) return fileRoot(join(path, only));
  const found =
    only === undefined ? "neither" : `${models.length} .gguf files (${models.slice(0, 4).join(", ")}…)`;
  throw new BitNetError(
    "FILE_NOT_FOUND",
    `${path}: expected config.json (a Hugging Face folder) or exactly one .gguf file, found ${found}; name the file`,
    { details: { path } },
  );
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    throw new BitNetError("IO_FAILED", `${path}: the folder cannot be read (${(cause as Error).message})`, {
      cause,
    });
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false; // opening it as a file gives the reason
  }
}

async function fileRoot(path: string): Promise<FileRoot> {
  return { kind: "file", source: await openFileSource(path), openSibling: openerIn(dirname(path)) };
}

function openerIn(folder: string): (fileName: string) => Promise<ByteSource | null> {
  return async (fileName) => {
    if (!isPlainPath(fileName)) return null;
    try {
      return await openFileSource(join(folder, ...fileName.split("/").map((part) => basename(part))));
    } catch (error) {
      if (error instanceof BitNetError && error.code === "FILE_NOT_FOUND") return null;
      throw error;
    }
  };
}
