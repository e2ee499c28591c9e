/** Which files of a dataset's repository hold the examples that were asked for: by its card, or by the names that the Hub's own tools go by. */
import { BitNetError } from "@bitnet.ts/core";
import type { ChosenFiles } from "./choose-files.ts";
import type { CardConfig } from "./dataset-card.ts";
import type { HubFile, HubModel } from "./model-info.ts";
import { pathMatcher } from "./path-pattern.ts";

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
 * @param part A split (`train`, `validation`, `test`, or another word of file names), a configuration of the card, `configuration/split`, a folder,
 * `folder/split`, or the path of a file; null: `train`, or everything where names tell no splits.
 * @param card What the dataset's card lists, which goes before the names of files.
 * @returns The files of one set in one format; several are parts of it.
 * @throws BitNetError FILE_NOT_FOUND; INVALID_ARGUMENT where several sets match.
 */
export function chooseData(
  { repo, files }: HubModel,
  part: string | null,
  card: readonly CardConfig[] = [],
): ChosenFiles {
  const exact = files.find(({ path }) => path === part);
  if (exact !== undefined) return { files: [exact], entry: exact.path };
  const readable = files.filter(({ path }) => kinds.some((kind) => kind.test(path)));
  const listedFiles = card.length === 0 ? null : byCard({ repo, files: readable }, part, card);
  if (listedFiles !== null) return { files: ofOneKind(listedFiles), entry: null };
  const data = readable.filter(({ path }) => !descriptions.test(path));
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
      `${repo}: holds ${folders.length} sets; name one by its folder, as in ${shortName(repo)}:${folders.find((each) => each !== "")}: ${listed(folders.map((each) => each || "(the top)"))}`,
    );
  return { files: ofOneKind(found), entry: null };
}

/** By what the card lists; null where the part is a folder, or a path, that the card does not speak of. */
function byCard(
  { repo, files }: Pick<HubModel, "repo" | "files">,
  part: string | null,
  card: readonly CardConfig[],
): HubFile[] | null {
  const usual = card.find(({ isDefault }) => isDefault);
  const slash = part?.lastIndexOf("/") ?? -1;
  const named = card.find(({ name }) => name === part);
  const outer = card.find(({ name }) => slash > 0 && name === part?.slice(0, slash));
  const config = part === null ? usual : (named ?? outer ?? usual);
  const names = listed(card.map(({ name }) => name));
  if (config === undefined && part === null)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${repo}: its card lists ${card.length} configurations; name one, as in ${shortName(repo)}:${card[0]?.name}: ${names}`,
    );
  const split = part === null || named !== undefined ? null : outer ? part.slice(slash + 1) : part;
  const isElsewhere =
    outer === undefined && (slash > 0 || files.some(({ path }) => path.startsWith(`${part}/`)));
  if (split !== null && isElsewhere) return null;
  if (config === undefined)
    throw new BitNetError(
      "FILE_NOT_FOUND",
      `${repo}: has no configuration ${JSON.stringify(part)}; its card lists ${names}`,
    );
  return filesOf({ repo, files }, config, split);
}

function filesOf(
  { repo, files }: Pick<HubModel, "repo" | "files">,
  { name, folder, splits }: CardConfig,
  split: string | null,
): HubFile[] {
  const missing = (what: string) => new BitNetError("FILE_NOT_FOUND", `${repo}: ${what}`);
  const inFolder = folder === "" ? "" : `${folder}/`;
  if (splits === null) {
    const data = files.filter(({ path }) => path.startsWith(inFolder) && !descriptions.test(path));
    const found = split === null ? trainOrAll(data, inFolder) : bySplit(data, inFolder, split);
    if (found.length > 0) return found;
    throw missing(
      `has no data for the split ${JSON.stringify(split ?? "train")} of its configuration ${JSON.stringify(name)}`,
    );
  }
  const words = split === null ? ["train"] : [split, ...(splitWords[split] ?? [])];
  const only = split === null && splits.size === 1 ? [...splits.keys()] : [];
  const chosen = [...words, ...only].find((word) => splits.has(word));
  const patterns = splits.get(chosen ?? "");
  if (patterns === undefined)
    throw missing(
      `its configuration ${JSON.stringify(name)} has no split ${JSON.stringify(words[0])}; its splits: ${listed([...splits.keys()])}`,
    );
  const matchers = patterns.map((pattern) => ({ pattern, matches: pathMatcher(`${inFolder}${pattern}`) }));
  const found = files.filter(({ path }) =>
    matchers.some(({ pattern, matches }) => matches(path) && !isPassedOver(path, pattern)),
  );
  if (found.length > 0) return found;
  throw missing(
    `no file in .jsonl, .json, .csv, .parquet or .txt is what its card lists for the split ${JSON.stringify(chosen)} of ${JSON.stringify(name)}: ${listed(patterns)}`,
  );
}

/** Descriptions are data only where they are named. */
function isPassedOver(path: string, pattern: string): boolean {
  return descriptions.test(path) && !pattern.endsWith(path.slice(path.lastIndexOf("/") + 1));
}

function shortName(repo: string): string {
  return repo.replace(/^datasets\//, "");
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
