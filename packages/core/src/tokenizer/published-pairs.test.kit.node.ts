/** What test/golden/tokenizers holds of published tokenizers: their files by kind, and what the libraries answer to hostile texts. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

interface Pairs {
  texts: string[];
  kinds: Record<string, { ids: number[][]; decoded: string[] }>;
  sentencePiece: { texts: string[]; models: Record<string, SentencePieceModel> };
}

interface SentencePieceModel {
  tokens: string[];
  scores: number[];
  types: number[];
  addSpacePrefix: boolean;
  ids: number[][];
  /** Of a unigram model: its table of characters, in base64. */
  characters?: string;
}

function load(name: string) {
  const path = new URL(`../../../../test/golden/tokenizers/${name}.json.gz`, import.meta.url);
  return JSON.parse(gunzipSync(readFileSync(path)).toString());
}

export const files: Record<string, Record<string, unknown>> = load("tokenizers");
export const pairs: Pairs = load("pairs");
