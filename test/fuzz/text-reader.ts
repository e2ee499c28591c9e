/** Readers that want a path: what a mutant says is put into files first. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pick, type Random } from "./mutants.ts";
import type { Files, FuzzedReader } from "./reader.ts";

export const latin = (value: string) => Buffer.from(value, "utf8");
export const lines = (...values: unknown[]) => values.map((value) => JSON.stringify(value)).join("\n");

/** @returns The path of the last file. */
export function put(files: Files, folder: string): string {
  let last = "";
  for (const [name, bytes] of files) {
    last = join(folder, name);
    mkdirSync(dirname(last), { recursive: true });
    writeFileSync(last, bytes);
  }
  return last;
}

interface TextFile {
  file: string;
  rounds: number;
  takesAnything?: boolean;
  sources: readonly string[];
  other: (source: string, random: Random) => string;
}

/** A reader of one text file. */
export function textReader(
  name: string,
  { file, rounds, takesAnything = false, sources, other }: TextFile,
  read: (path: string) => Promise<void> | void,
): FuzzedReader {
  return {
    name,
    rounds,
    takesAnything,
    mutant: (random) => new Map([[file, latin(other(pick(sources, random), random))]]),
    read: (files, folder) => read(put(files, folder)),
  };
}
