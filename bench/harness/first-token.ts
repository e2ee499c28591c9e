/** Asks a fresh process how long a model takes to its first token and what memory it uses. */
import { join } from "node:path";
import type { FirstTokenReport } from "../children/first-token.ts";
import { outputOf } from "./rooflines.ts";

export async function firstTokenReport(
  path: string,
  { isa, threads }: { isa: string; threads: number },
  nPrompt: number,
): Promise<FirstTokenReport> {
  const program = join(import.meta.dirname, "..", "children", "first-token.js");
  const text = await outputOf(process.execPath, [program, path, isa, String(threads), String(nPrompt)]);
  if (text === "") throw new Error(`${path}: the process that was to load it has failed`);
  return JSON.parse(text) as FirstTokenReport;
}
