/**
 * The configurations that a dataset's card (README.md) lists in its front matter: named sets, each with files for its splits. Meaning of the fields
 * as the `datasets` library has it (MetadataConfigs, sanitize_patterns). Knows nothing of which files there are.
 */
import { BitNetError } from "@bitnet.ts/core";

export interface CardConfig {
  readonly name: string;
  /** The one that is meant where none is named. */
  readonly isDefault: boolean;
  /** Folder that paths are relative to; "" for the top. */
  readonly folder: string;
  /** Patterns of paths for each split; null: names of files tell the splits. */
  readonly splits: ReadonlyMap<string, readonly string[]> | null;
}

type Json = Record<string, unknown>;

/** @throws BitNetError FORMAT_INVALID for YAML that cannot be read, and configurations that say nothing. */
export async function readDatasetCard(text: string, where: string): Promise<CardConfig[]> {
  const front = frontMatter(text);
  if (front === null || !/^\s*["']?configs["']?\s*:/m.test(front)) return [];
  const { parse } = await import("yaml");
  let card: unknown;
  try {
    card = parse(front, { logLevel: "error" });
  } catch (cause) {
    const [line = ""] = (cause as Error).message.split("\n");
    throw invalid(where, `its front matter is no YAML: ${line.replace(/:$/, "")}`, cause);
  }
  const configs = isRecord(card) ? (card.configs ?? null) : null;
  if (configs === null) return [];
  if (!Array.isArray(configs)) throw invalid(where, "configs is no list");
  // Before splits were listed here, only names were, and they told no files.
  const read = configs
    .filter((config) => typeof config !== "string")
    .map((config, i) => readConfig(config, `configs[${i}]`, where));
  return withDefault(read, where);
}

/** Between the first line and the next one that are dashes alone. */
function frontMatter(text: string): string | null {
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|\r|\n/);
  const end = lines.indexOf("---", 1);
  return lines[0] === "---" && end > 0 ? lines.slice(1, end).join("\n") : null;
}

function readConfig(config: unknown, place: string, where: string): CardConfig {
  const { config_name: name, data_files: files, data_dir: folder } = isRecord(config) ? config : {};
  if (typeof name !== "string" || name === "") throw invalid(where, `${place} has no config_name`);
  if ((folder ?? null) !== null && typeof folder !== "string")
    throw invalid(where, `${place}.data_dir is no text`);
  return {
    name,
    isDefault: (config as Json).default === true,
    folder: plainPath(typeof folder === "string" ? folder : ""),
    splits: (files ?? null) === null ? null : readSplits(files, `${place}.data_files`, where),
  };
}

function readSplits(files: unknown, place: string, where: string): Map<string, readonly string[]> {
  const list = [files].flat();
  const isPlain = list.every((entry) => typeof entry === "string");
  const entries: unknown[] = isPlain ? [{ split: "train", path: list }] : list;
  const splits = new Map<string, readonly string[]>();
  for (const [i, entry] of entries.entries()) {
    const { split, path } = isRecord(entry) ? entry : {};
    const paths = [path].flat();
    const isRight =
      typeof split === "string" && paths.length > 0 && paths.every((each) => typeof each === "string");
    if (!isRight) throw invalid(where, `${place}[${i}] is no split with a path or paths`);
    if (splits.has(split)) throw invalid(where, `${place} has the split ${JSON.stringify(split)} twice`);
    splits.set(split, paths.map(plainPath));
  }
  return splits;
}

function plainPath(path: string): string {
  return path.replace(/^(\.?\/)+/, "").replace(/\/+$/, "");
}

/** The only one, the one that says so, or the one of that name. */
function withDefault(configs: readonly CardConfig[], where: string): CardConfig[] {
  const names = configs.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw invalid(where, `configs has ${JSON.stringify(twice)} twice`);
  const found = configs.map((config) => ({
    ...config,
    isDefault: configs.length === 1 || config.isDefault || config.name === "default",
  }));
  if (found.filter(({ isDefault }) => isDefault).length > 1)
    throw invalid(where, "configs has several defaults");
  return found;
}

function isRecord(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(where: string, problem: string, cause?: unknown): BitNetError {
  return new BitNetError(
    "FORMAT_INVALID",
    `${where}: ${problem}; a file of the dataset can be named all the same, as in hf:owner/name:path/of/a.file`,
    cause === undefined ? {} : { cause },
  );
}
