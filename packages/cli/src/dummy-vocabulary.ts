/**
 * A made-up byte-level BPE vocabulary of any size: the 256 bytes, then "words" that grow letter by letter, each with the merge
 * that forms it, and control tokens at the end, for Llama-3 sizes under Llama 3's ids. The byte alphabet is GPT-2's.
 */
import { BitNetError } from "@bitnet.ts/core";

export interface DummyVocabulary {
  /** As GGUF spells them; index = id. */
  tokens: string[];
  /** GGUF token types: 1 normal, 3 control. */
  types: Int32Array;
  merges: string[];
  bosId: number;
  eosId: number;
  eotId: number;
}

const letters = "etaoinshrdlcumwfgypbvkjxqz";
const llama3Size = 128256;
const spelledSpace = "Ġ";

/** GPT-2's spelling: visible Latin-1 bytes stand for themselves, the others are numbered from U+0100 on. */
function spelledBytes(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isVisible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(isVisible ? byte : next++);
  });
}

function controlTokens(size: number): string[] {
  if (size < llama3Size) return ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"];
  const names = Array.from({ length: 256 }, (_, i) => `<|reserved_special_token_${i}|>`);
  names[0] = "<|begin_of_text|>";
  names[1] = "<|end_of_text|>";
  names[9] = "<|eot_id|>";
  return names;
}

/** @throws BitNetError INVALID_ARGUMENT when bytes and control tokens do not fit into `size`. */
export function makeVocabulary(size: number): DummyVocabulary {
  const control = controlTokens(size);
  const nOrdinary = size - control.length;
  if (nOrdinary < 256) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `dummy: a vocabulary of ${size} tokens is too small for the bytes`,
    );
  }
  const tokens = spelledBytes();
  const merges: string[] = [];
  // Each token found so far is extended by each letter: words in order of length, every beginning before its continuations.
  const stems = [spelledSpace, ...letters];
  for (let i = 0; tokens.length < nOrdinary; i++) {
    const stem = stems[i] ?? "";
    for (const letter of letters) {
      if (tokens.length === nOrdinary) break;
      tokens.push(stem + letter);
      stems.push(stem + letter);
      merges.push(`${stem} ${letter}`);
    }
  }
  tokens.push(...control);
  const idOf = (name: string) => nOrdinary + control.indexOf(name);
  return {
    tokens,
    types: new Int32Array(size).fill(1).fill(3, nOrdinary),
    merges,
    bosId: idOf("<|begin_of_text|>"),
    eosId: idOf("<|end_of_text|>"),
    eotId: idOf("<|eot_id|>"),
  };
}
