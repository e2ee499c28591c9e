/** Which files of a dataset's repository hold the examples that were asked for: by the names that the Hub's own tools go by. */
import { BitNetError } from "@bitnet.ts/core";
import type { ChosenFiles } from "./choose-files.ts";
import type { HubFile, HubModel } from "./model-info.ts";

/** In the order in which one is preferred, where a repository has the same data in several. */
const kinds = [/\.jsonl(\.gz)?$/i, /\.json$/i, /\.csv(\.gz)?$/i, /\.parquet$/i, /\.txt(\.gz)?$/i];
/** Descriptions, not data. */
const descriptions =
  /(^|\/)(dataset_infos?|config|croissant|package|requirements|license|readme)[^/]*\.(json|txt)$/i;

const splitWords: Readonly<Record<string, readonly string[]>> = {
  train: ["train", "training"],
  validation: ["validation", "valid", "val", "dev"],
  test: ["test", "testing", "eval", "evaluation"],
};
const anySplit = wordPattern(Object.values(splitWords).flat());

/**
 * @param part A split (`train`, `validation`, `test`, or another word of file names), a folder, `folder/split`, or the path of a file; null: `train`,
 * or everything where names tell no splits.
 * @returns The files of one set in one format; several are parts of it.
 * @throws BitNetError FILE_NOT_FOUND; INVALID_ARGUMENT where several sets match.
 */
export function chooseData({ repo, files }: HubModel, part: string | null): ChosenFiles {
  const exact = files.find(({ path }) => path === part);
  if (exact !== undefined) return { files: [exact], entry: exact.path };
  const data = files.filter(({ path }) => kinds.some((kind) => kind.test(path)) && !descriptions.test(path));
  const found = matching(data, part);
  if (found.length === 0)
    throw new BitNetError(
      "FILE_NOT_FOUND",
      `${repo}: has no data ${part === null ? "in .jsonl, .json, .csv, .parquet or .txt files" : `named ${JSON.stringify(part)}`}; ` +
        `its data: ${listed(data.map(({ path }) => path)) || "none in these formats"}`,
    );
  const folders = [...new Set(found.map(({ path }) => folderOf(path)))].sort();
  if (folders.length > 1)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${repo}: holds ${folders.length} sets; name one by its folder, as in ${repo.replace(/^datasets\//, "")}:${folders.find((each) => each !== "")}: ${listed(folders.map((each) => each || "(the top)"))}`,
    );
  return { files: ofOneKind(found), entry: null };
}

function matching(data: readonly HubFile[], part: string | null): HubFile[] {
  if (part === null) return trainOrAll(data, "");
  const inFolder = data.filter(({ path }) => path.startsWith(`${part}/`));
  // A folder's name may be a split's: then what it holds is what is meant.
  if (inFolder.length > 0) return trainOrAll(inFolder, `${part}/`);
  const folder = part.slice(0, part.lastIndexOf("/") + 1);
  return bySplit(data, folder, part.slice(folder.length));
}

function trainOrAll(data: readonly HubFile[], folder: string): HubFile[] {
  const isNamed = data.some(({ path }) => anySplit.test(path.slice(folder.length)));
  return isNamed ? bySplit(data, folder, "train") : [...data];
}

function bySplit(data: readonly HubFile[], folder: string, split: string): HubFile[] {
  const pattern = wordPattern(splitWords[split] ?? [split]);
  return data.filter(({ path }) => path.startsWith(folder) && pattern.test(path.slice(folder.length)));
}

/** One of the words, between whatever separates words in paths. */
function wordPattern(words: readonly string[]): RegExp {
  const escaped = words.map((word) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`(^|[/._ -])(${escaped.join("|")})(?=[/._ -])`, "i");
}

function folderOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

function ofOneKind(files: readonly HubFile[]): HubFile[] {
  const kind = kinds.find((each) => files.some(({ path }) => each.test(path)));
  return files.filter(({ path }) => kind?.test(path)).sort((a, b) => (a.path < b.path ? -1 : 1));
}

function listed(names: readonly string[]): string {
  return names.slice(0, 8).join(", ") + (names.length > 8 ? `, and ${names.length - 8} more` : "");
}
