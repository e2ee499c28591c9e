/** Which files of a repository make up the model that was asked for. */
import { BitNetError } from "@bitnet.ts/core";
import type { HubFile, HubModel } from "./model-info.ts";

/** Beside the weights of a Hugging Face folder. */
const companions = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "model.safetensors.index.json",
  "modules.json",
  "config_sentence_transformers.json",
];
/** What modules.json may name. */
const modulePattern = /^\d+_[A-Za-z]+\/(config\.json|model\.safetensors)$/;
const partPattern = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;

export interface ChosenFiles {
  files: readonly HubFile[];
  /** Of a GGUF model, its (first) file; null for a folder. */
  entry: string | null;
}

/**
 * @param file Path that was named, a `.gguf` file or any other; null to choose.
 * @throws BitNetError FILE_NOT_FOUND when there is no such file or no model, INVALID_ARGUMENT when there are several.
 */
export function chooseFiles({ repo, files }: HubModel, file: string | null): ChosenFiles {
  if (file !== null) {
    const found = files.find(({ path }) => path === file);
    if (found !== undefined) return { files: withParts(found, files), entry: file };
    const offered = listed(files.filter(({ path }) => path.endsWith(".gguf")));
    throw new BitNetError(
      "FILE_NOT_FOUND",
      `${repo}: has no file ${JSON.stringify(file)}; its models: ${offered || "none in GGUF"}`,
    );
  }
  const ggufs = files.filter(
    ({ path }) => /\.gguf$/i.test(path) && !/-(?!00001)\d{5}-of-\d{5}\.gguf$/i.test(path),
  );
  const [only, another] = ggufs;
  const folder = folderFiles(files);
  if (only !== undefined && another === undefined) return { files: withParts(only, files), entry: only.path };
  if (folder.length > 0 && only === undefined) return { files: folder, entry: null };
  if (only === undefined) {
    throw new BitNetError(
      "FILE_NOT_FOUND",
      `${repo}: holds neither a .gguf file nor config.json with .safetensors files: no model that runs here`,
    );
  }
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${repo}: holds ${ggufs.length} models; name one of them, as in ${repo}:${only.path}: ${listed(ggufs)}`,
  );
}

function withParts(file: HubFile, files: readonly HubFile[]): HubFile[] {
  const [, stem, , count] = partPattern.exec(file.path) ?? [];
  if (stem === undefined) return [file];
  const isPart = ({ path }: HubFile) => {
    const match = partPattern.exec(path);
    return match?.[1] === stem && match[3] === count;
  };
  return files.filter(isPart);
}

function folderFiles(files: readonly HubFile[]): HubFile[] {
  const weights = files.filter(({ path }) => /^model(-\d{5}-of-\d{5})?\.safetensors$/.test(path));
  const isThere = files.some(({ path }) => path === "config.json") && weights.length > 0;
  const isCompanion = ({ path }: HubFile) => companions.includes(path) || modulePattern.test(path);
  return isThere ? [...files.filter(isCompanion), ...weights] : [];
}

function listed(files: readonly HubFile[]): string {
  const gigabytes = (size: number) => `${(size / 1e9).toFixed(2)} GB`;
  const shown = files.slice(0, 12).map(({ path, size }) => `${path} (${gigabytes(size)})`);
  return shown.join(", ") + (files.length > shown.length ? ", …" : "");
}
