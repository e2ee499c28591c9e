/**
 * A trained vocabulary in a file beside its run, under a key of what it was trained on. What the file says is checked against itself: each
 * merge makes the next token of two before it, so that damage shows, and the vocabulary is trained anew.
 */
import { readFileSync } from "node:fs";
import { writeJson } from "../export/write-file.ts";
import type { BpeVocabulary, TrainedSplitRule } from "./train-bpe.ts";

/** @throws BitNetError IO_FAILED. */
export async function storeVocabulary(path: string, key: string, vocabulary: BpeVocabulary): Promise<void> {
  const { tokens, merges, specialTokens, splitRule } = vocabulary;
  const spelled = tokens.map((bytes) => Buffer.from(bytes).toString("hex"));
  await writeJson(path, { key, tokens: spelled, merges, specialTokens, splitRule });
}

/** Null where there is none, or one of another key, or none that is whole. */
export function readVocabulary(path: string, key: string): BpeVocabulary | null {
  let value: Record<string, unknown>;
  try {
    value = Object(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return null;
  }
  const { key: found, ...stored } = value;
  if (found !== key || !isWhole(stored)) return null;
  return { ...stored, tokens: stored.tokens.map((hex) => Uint8Array.from(Buffer.from(hex, "hex"))) };
}

interface StoredVocabulary extends Omit<BpeVocabulary, "tokens"> {
  /** Hexadecimal. */
  readonly tokens: readonly string[];
}

const splitRules: readonly unknown[] = ["llama-3", "gpt-2"] satisfies TrainedSplitRule[];

function isWhole(value: object): value is StoredVocabulary {
  const { tokens, merges, specialTokens, splitRule } = value as Record<string, unknown>;
  if (!Array.isArray(tokens) || !Array.isArray(merges) || !Array.isArray(specialTokens)) return false;
  const isMade = ([left, right]: unknown[], hex: unknown) =>
    hex === `${tokens[Number(left)]}${tokens[Number(right)]}`;
  const isRight = (hex: unknown, id: number) => {
    if (id < 256) return hex === id.toString(16).padStart(2, "0");
    const merge: unknown = merges[id - 256];
    const isPair = Array.isArray(merge) && merge.length === 2 && merge.every((part) => isBefore(part, id));
    return isPair && isMade(merge, hex);
  };
  return (
    tokens.length === 256 + merges.length &&
    tokens.every(isRight) &&
    specialTokens.every((name) => typeof name === "string") &&
    splitRules.includes(splitRule)
  );
}

function isBefore(part: unknown, id: number): boolean {
  return Number.isInteger(part) && (part as number) >= 0 && (part as number) < id;
}
