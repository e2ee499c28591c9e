/**
 * What an object file depends on: its source, every header that it includes by a relative path, and whatever the caller adds. System
 * headers are taken to belong to the compiler.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Texts by path: one build reads each file once. */
export type FileTexts = Map<string, string>;

function readText(path: string, texts: FileTexts): string {
  let text = texts.get(path);
  if (text === undefined) {
    text = readFileSync(path, "utf8");
    texts.set(path, text);
  }
  return text;
}

/** `file` and all headers below it, in a stable order. */
function closure(file: string, texts: FileTexts): string[] {
  const found = new Set([file]);
  for (const path of found) {
    for (const [, name = ""] of readText(path, texts).matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)) {
      const header = join(dirname(path), name);
      if (existsSync(header)) found.add(header);
    }
  }
  return [...found].sort();
}

/** Hash of a source file, its headers and `rest`. */
export function sourceHash(file: string, rest: readonly string[], texts: FileTexts): string {
  const hash = createHash("sha256");
  for (const part of rest) hash.update(`${part}\0`);
  for (const path of closure(file, texts)) hash.update(`${path}\0${readText(path, texts)}\0`);
  return hash.digest("hex").slice(0, 24);
}
