/** Made-up byte-level BPE vocabularies of any size from 260 tokens on, as GGUF metadata and as the JSON files of Hugging Face. */

export interface ByteVocabulary {
  /** In GPT-2's spelling of bytes; the three control tokens stand at the end. */
  tokens: string[];
  /** "left right" for every token of two bytes. */
  merges: string[];
  bosId: number;
  eosId: number;
  eotId: number;
}

const control = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"];
const letters = "etaoinshrdlcumwfgypbvkjxqz0123456789";

/** The 256 bytes, pairs of letters and digits, control tokens. */
export function byteVocabulary(size: number): ByteVocabulary {
  const tokens = spelledBytes();
  const merges: string[] = [];
  for (let i = 0; tokens.length < size - control.length; i++) {
    const left = letters[Math.floor(i / letters.length)];
    const right = letters[i % letters.length];
    if (left === undefined || right === undefined) throw new Error(`no vocabulary of ${size} tokens`);
    tokens.push(left + right);
    merges.push(`${left} ${right}`);
  }
  tokens.push(...control);
  return { tokens, merges, bosId: size - 3, eosId: size - 2, eotId: size - 1 };
}

function spelledBytes(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isVisible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(isVisible ? byte : next++);
  });
}

const llama3Split =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** tokenizer.json. */
export function tokenizerJson({ tokens, merges, bosId }: ByteVocabulary): object {
  const ordinary = tokens.slice(0, bosId);
  return {
    added_tokens: control.map((content, i) => ({ id: bosId + i, content, special: true })),
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: llama3Split }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: control[0], type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      special_tokens: { [control[0] ?? ""]: { id: control[0], ids: [bosId], tokens: [control[0]] } },
    },
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      ignore_merges: true,
      vocab: Object.fromEntries(ordinary.map((token, id) => [token, id])),
      merges,
    },
  };
}
