/**
 * Makes the fixtures of this folder with independent implementations: small vocabularies of every kind that our models use, trained on
 * the text below (our own), 500 hostile texts, and what the Hugging Face tokenizers library and SentencePiece make of them.
 *
 *   apt-get install sentencepiece python3-sentencepiece
 *   npm install --prefix DIR tokenizers@0.23.2
 *   node make-pairs.mjs DIR
 *
 * Nothing here is needed to run the tests.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";

const { Tokenizer } = createRequire(join(resolve(process.argv[2] ?? "."), "x.cjs"))("tokenizers");
const here = new URL(".", import.meta.url).pathname;

let state = 12345;
const random = (n) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};
const pick = (list) => list[random(list.length)];

// ---- text to train on -------------------------------------------------------------------------------------------------
const words = (
  "the a of and to in that it is was he for on with as his they at be this have from or one had by but not what all were we when your can said there " +
  "river stone lantern bread window garden teacher winter summer morning evening machine letter number small large quickly slowly never always " +
  "walking walked walks running builder building built counting counted open opened opening water waters light lights lighter " +
  "Straße über schön grün Häuser können wäre naïve café élève garçon niño mañana señor não coração привет мир вода дом город " +
  "東京 日本語 漢字 水 火 山 川 こんにちは ありがとう カタカナ 中文 你好 世界 मिलना पानी שלום מים مرحبا ماء 한국어 안녕 Ελλάδα νερό"
).split(" ");
const corpus = [];
for (let i = 0; i < 2500; i++) {
  const sentence = Array.from({ length: 4 + random(10) }, () => (random(14) === 0 ? String(random(100000)) : pick(words)));
  if (random(2) === 0) sentence[0] = sentence[0][0].toUpperCase() + sentence[0].slice(1);
  corpus.push(`${sentence.join(random(12) === 0 ? "  " : " ")}${pick([".", "!", "?", ", isn't it?", " (it's so)", "..."])}`);
}

// ---- hostile texts ----------------------------------------------------------------------------------------------------
const units = [
  ..." \t\n\r\v\u0085\u00a0\u2003\u3000\u200b\ufeff\u0000\u0007\u001b\u007f\u00ad\u2028\u202e\ufffd\uffff▁▁Ġ",
  ..."'''’sStTrReEvVmMlLdDaAzZ0123456789٣²½Ⅻ፩一漢ぁア가각ßſİıǅʰªéÉñ!?.,;:-_()[]{}<>|/\\@#$%^&*+=~`\"",
  ..."\u0301\u0323\u0344\u0345\u0591\u093c\u0f71\u0f72\u1161\u11a8åôụ̄ﬁ①㎏ﷺ🙂👩👍🏽🇩🇪𝟘𐐀𐐨𝔘\u{10ffff}\u{e0041}",
  ..."  ", "\r\n", "\n\n", "e\u0301", "A\u030a", "👩‍👩‍👧", "don't", "DON'T", "I'LL", "we've", "<s>", "</s>", "<unk>", "<|im_end|>", "<|im_start|>",
  "<think>", "</think>", "[MASK]", "Word", "wordWord", "<0x41>", "<0xE2>", "<|", "|>", "  <s>  ", "\u0301\u0323".repeat(40), "123456", "1,234.5", "ABCdef", "HTTPServer", "don’t",
];
const texts = ["", " ", "▁", "  ", "\n", "a", " a", "a ", "</s>", "<s>a", "a<s> b", " <|im_end|> ", "Word", "Wordy", "xWord"];
for (let i = 0; texts.length < 500; i++) {
  const kind = i % 5;
  if (kind === 0) texts.push(Array.from({ length: 1 + random(30) }, () => pick(units)).join(""));
  else if (kind === 1) {
    const some = Array.from({ length: 3 }, () => pick(units));
    texts.push(Array.from({ length: 1 + random(24) }, () => pick(some)).join(""));
  } else if (kind === 2) texts.push(Array.from({ length: 1 + random(8) }, () => pick([pick(words), pick(units), " "])).join(pick(["", " ", "\n"])));
  else if (kind === 3) {
    const text = [...pick(corpus)];
    for (let n = 0; n < 4; n++) text.splice(random(text.length), random(2), pick(units));
    texts.push(text.join(""));
  } else texts.push(pick(units).repeat(1 + random(40)) + pick(["", "x", " x"]));
}

// ---- byte-level vocabularies ------------------------------------------------------------------------------------------
const visible = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
let next = 256;
const spelling = Array.from({ length: 256 }, (_, b) => String.fromCodePoint(visible(b) ? b : next++));
const spell = (text) => [...Buffer.from(text)].map((b) => spelling[b]);

/** The most frequent pair again and again (Sennrich et al., 2016). */
function trainMerges(pieces, count) {
  const counts = new Map();
  for (const piece of pieces) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  const list = [...counts].map(([piece, n]) => ({ parts: spell(piece), n }));
  const merges = [];
  while (merges.length < count) {
    const pairs = new Map();
    for (const { parts, n } of list) {
      for (let i = 0; i + 1 < parts.length; i++) {
        const pair = `${parts[i]} ${parts[i + 1]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + n);
      }
    }
    let best = null;
    for (const [pair, n] of pairs) if (best === null || n > pairs.get(best) || (n === pairs.get(best) && pair < best)) best = pair;
    if (best === null || pairs.get(best) < 2) break;
    merges.push(best);
    const [left, right] = best.split(" ");
    for (const entry of list) {
      const { parts } = entry;
      for (let i = 0; i + 1 < parts.length; i++) if (parts[i] === left && parts[i + 1] === right) parts.splice(i, 2, left + right);
    }
  }
  return merges;
}

const added = (id, content, rest = {}) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false, ...rest });
const byteLevel = (use_regex) => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex });
const split = (Regex) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
const sequence = (...pretokenizers) => ({ type: "Sequence", pretokenizers });
const rest = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const llama3 = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${rest}`;
const qwen2 = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${rest}`;
const gpt4o =
  String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?` +
  String.raw`|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?` +
  String.raw`|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const pieces = corpus.flatMap((line) => line.match(/ ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+/gu));
const merges = trainMerges(pieces, 500);
const byteVocab = [...new Set([...spelling, ...merges.map((merge) => merge.replace(" ", ""))])];
function byteLevelFile(normalizer, pre_tokenizer, ignore_merges) {
  const n = byteVocab.length;
  const names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>"];
  const added_tokens = [
    ...names.map((content, i) => added(n + i, content, { special: true })),
    added(n + 5, "<think>"), added(n + 6, "</think>"),
    added(n + 7, "[MASK]", { lstrip: true, rstrip: true, special: true }),
    added(n + 8, "Word", { single_word: true, normalized: true }),
  ];
  return {
    version: "1.0", truncation: null, padding: null, added_tokens, normalizer, pre_tokenizer,
    post_processor: byteLevel(true), decoder: byteLevel(true),
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges, vocab: Object.fromEntries(byteVocab.map((token, id) => [token, id])), merges },
  };
}

// ---- SentencePiece vocabularies ---------------------------------------------------------------------------------------
const folder = mkdtempSync(join(tmpdir(), "pairs-"));
writeFileSync(join(folder, "corpus.txt"), `${corpus.join("\n")}\n`);
function trainPieces(name, ...options) {
  const prefix = join(folder, name);
  execFileSync("spm_train", [`--input=${join(folder, "corpus.txt")}`, `--model_prefix=${prefix}`, "--normalization_rule_name=identity", "--remove_extra_whitespaces=false", "--character_coverage=0.98", "--split_digits=true", "--num_threads=1", ...options], { stdio: "ignore" });
  return readFileSync(`${prefix}.vocab`, "utf8").replace(/\n$/, "").split("\n").map((line) => {
    const tab = line.lastIndexOf("\t");
    return [line.slice(0, tab), Number(line.slice(tab + 1))];
  });
}
/** Fields of a message of Protocol Buffers: numbers with what is behind them. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const field = Math.floor(key / 8);
    if (key % 8 === 0) yield [field, varint()];
    else {
      const length = key % 8 === 2 ? varint() : key % 8 === 5 ? 4 : 8;
      yield [field, bytes.subarray(at, (at += length))];
    }
  }
}
/** Pieces with scores in full, and the table of characters, of SentencePiece's model file (sentencepiece_model.proto). */
function readModel(path) {
  const vocab = [];
  let characters = "";
  for (const [field, message] of fieldsOf(readFileSync(path))) {
    const inner = field === 1 || field === 3 ? new Map(fieldsOf(message)) : new Map();
    if (field === 1) vocab.push([inner.get(1).toString(), inner.get(2).readFloatLE(0)]);
    if (field === 3) characters = inner.get(2).toString("base64");
  }
  return { vocab, characters };
}
/** As the converters of published files do: every way to cut a token into two tokens, by the score of the token. */
function mergesOf(vocab) {
  const rank = new Map(vocab.map(([piece], id) => [piece, id]));
  const found = [];
  for (const [piece, score] of vocab) {
    const local = [];
    const characters = [...piece];
    for (let i = 1; i < characters.length; i++) {
      const [left, right] = [characters.slice(0, i).join(""), characters.slice(i).join("")];
      if (rank.has(left) && rank.has(right)) local.push([left, right]);
    }
    local.sort((a, b) => rank.get(a[0]) - rank.get(b[0]) || rank.get(a[1]) - rank.get(b[1]));
    for (const [left, right] of local) found.push({ left, right, score });
  }
  found.sort((a, b) => b.score - a.score);
  return found.map(({ left, right }) => [left, right]);
}
const bytePieces = (vocab) => vocab.filter(([piece]) => /^<0x..>$/.test(piece)).length > 0;
const replaceSpace = { type: "Replace", pattern: { String: " " }, content: "▁" };
const showSpace = { type: "Replace", pattern: { String: "▁" }, content: " " };
const decoders = (...list) => ({ type: "Sequence", decoders: list });
const metaspace = (prepend_scheme, split) => ({ type: "Metaspace", replacement: "▁", prepend_scheme, split });
const fallback = { type: "ByteFallback" };
const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
function plainFile(vocab, model, { normalizer = null, pre_tokenizer = null, decoder, normalized = false }) {
  const n = vocab.length;
  return {
    version: "1.0", truncation: null, padding: null,
    added_tokens: [
      ...["<unk>", "<s>", "</s>"].map((content, id) => added(id, content, { special: true, normalized })),
      added(n, "<|im_start|>", { special: true }), added(n + 1, "<|im_end|>", { special: true }),
      added(n + 2, "<think>"), added(n + 3, "Word", { normalized: true }),
    ],
    normalizer, pre_tokenizer, post_processor: null, decoder, model,
  };
}
const bpeModel = (vocab, change = {}) => ({ type: "BPE", dropout: null, unk_token: "<unk>", continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: true, byte_fallback: bytePieces(vocab), ignore_merges: false, vocab: Object.fromEntries(vocab.map(([piece], id) => [piece, id])), merges: mergesOf(vocab).map((pair) => pair.join(" ")), ...change });
const unigramModel = (vocab) => ({ type: "Unigram", unk_id: 0, vocab, byte_fallback: bytePieces(vocab) });

const bpe = trainPieces("bpe", "--model_type=bpe", "--vocab_size=700", "--byte_fallback=true");
const bare = trainPieces("bare", "--model_type=bpe", "--vocab_size=450");
const gemma = trainPieces("gemma", "--model_type=bpe", "--vocab_size=700", "--byte_fallback=true", "--add_dummy_prefix=false", "--user_defined_symbols=▁▁,▁▁▁▁");
const unigram = trainPieces("unigram", "--model_type=unigram", "--vocab_size=400");
// A table of characters with what NFKC makes of them, of some with their marks, and entries that others begin with.
const marks = ["\u0301", "\u0323", "\u030a"];
const letters = [...new Set([...units, ...corpus].join(""))].filter((letter) => letter.isWellFormed() && letter !== "\0");
const rules = new Map([["①\u0301", "x"], ["a\u0301\u0323", "ab"], ["\r\n", "\n "], ["'", "’"], ["ß", "ss"], ["\u00ad", ""], ["\u200b", " "], ["٣", "3"]]);
for (const letter of letters) {
  const normal = letter.normalize("NFKC");
  if (/[\t\n\v\r]|\p{Zs}/u.test(letter) && letter !== " ") rules.set(letter, " ");
  else if (/\p{Cc}/u.test(letter)) rules.set(letter, "");
  else if (normal !== letter) rules.set(letter, normal);
  for (const mark of marks) {
    const composed = (letter + mark).normalize("NFC");
    if ([...composed].length === 1) rules.set(letter + mark, composed);
  }
}
const hex = (text) => [...text].map((letter) => letter.codePointAt(0).toString(16)).join(" ");
writeFileSync(join(folder, "rules.tsv"), [...rules].map(([from, to]) => `${hex(from)}\t${hex(to)}\n`).join(""));
trainPieces("mapped", "--model_type=unigram", "--vocab_size=640", "--byte_fallback=true", "--remove_extra_whitespaces=true", `--normalization_rule_tsv=${join(folder, "rules.tsv")}`);
const mapped = readModel(join(folder, "mapped.model"));

const unigramBytes = trainPieces("unigram-bytes", "--model_type=unigram", "--vocab_size=640", "--byte_fallback=true");

const files = {
  "gpt-2": byteLevelFile(null, byteLevel(true), false),
  "llama-3": byteLevelFile(null, sequence(split(llama3), byteLevel(false)), true),
  "qwen-2": byteLevelFile({ type: "NFC" }, sequence(split(qwen2), byteLevel(false)), false),
  "gpt-4o": byteLevelFile({ type: "Sequence", normalizers: [] }, sequence(split(gpt4o), byteLevel(false)), false),
  falcon: byteLevelFile(null, sequence({ type: "Punctuation", behavior: "Contiguous" }, byteLevel(true), { type: "Digits", individual_digits: false }, split("[0-9][0-9][0-9]")), false),
  digits: byteLevelFile({ type: "NFKC" }, sequence(split(String.raw`\p{N}{1,3}`), split("[一-龥\u3040-ゟ゠-ヿ]+"), { type: "Digits", individual_digits: true }, byteLevel(true)), false),
  llama: plainFile(bpe, bpeModel(bpe), { normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, replaceSpace] }, decoder: decoders(showSpace, fallback, { type: "Fuse" }, strip) }),
  "llama-normalized": plainFile(bpe, bpeModel(bpe), { normalized: true, normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, replaceSpace] }, decoder: decoders(showSpace, fallback, { type: "Fuse" }, strip) }),
  "llama-first": plainFile(bpe, bpeModel(bpe), { pre_tokenizer: metaspace("first", false), decoder: decoders(showSpace, fallback, { type: "Fuse" }, strip) }),
  gemma: plainFile(gemma, bpeModel(gemma), { normalizer: replaceSpace, pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false }, decoder: decoders(showSpace, fallback, { type: "Fuse" }) }),
  "unknown-fused": plainFile(bare, bpeModel(bare), { normalizer: replaceSpace, decoder: decoders(showSpace, { type: "Fuse" }) }),
  "unknown-each": plainFile(bare, bpeModel(bare, { fuse_unk: false, ignore_merges: true }), { pre_tokenizer: metaspace("always", true), decoder: metaspace("always", true) }),
  "unknown-lost": plainFile(bare, bpeModel(bare, { unk_token: null }), { pre_tokenizer: metaspace("never", true), decoder: metaspace("never", true) }),
  unigram: plainFile(unigram, unigramModel(unigram), { normalizer: { type: "Replace", pattern: { Regex: " {2,}" }, content: "▁" }, pre_tokenizer: metaspace("always", true), decoder: metaspace("always", true) }),
  "unigram-bytes": plainFile(unigramBytes, unigramModel(unigramBytes), { pre_tokenizer: metaspace("always", false), decoder: decoders(showSpace, fallback, { type: "Fuse" }, strip) }),
};

const precompiled = { type: "Precompiled", precompiled_charsmap: mapped.characters };
const tidySpaces = [{ type: "Strip", strip_left: false, strip_right: true }, { type: "Replace", pattern: { Regex: " {2,}" }, content: "▁" }];
files["characters-words"] = plainFile(mapped.vocab, unigramModel(mapped.vocab), { normalizer: precompiled, pre_tokenizer: sequence({ type: "WhitespaceSplit" }, metaspace("always", true)), decoder: decoders(showSpace, fallback, { type: "Fuse" }, strip) });
files["characters-spaces"] = plainFile(mapped.vocab, unigramModel(mapped.vocab), { normalizer: { type: "Sequence", normalizers: [precompiled, ...tidySpaces] }, pre_tokenizer: metaspace("always", true), decoder: decoders(showSpace, fallback, { type: "Fuse" }, strip) });

const pairs = { texts, kinds: {} };
for (const [name, file] of Object.entries(files)) {
  const tokenizer = Tokenizer.fromString(JSON.stringify(file));
  const ids = [];
  const decoded = [];
  for (const text of texts) {
    const encoding = (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds();
    ids.push(encoding);
    decoded.push(await tokenizer.decode(encoding, false));
  }
  pairs.kinds[name] = { ids, decoded };
}

// ---- SentencePiece's own answers, for GGUF ----------------------------------------------------------------------------
// Types are those of the GGUF specification.
const userDefined = { bpe: [], gemma: ["▁▁", "▁▁▁▁"], bare: [], mapped: [] };
const typeOf = (piece, id, defined) => (id === 0 ? 2 : id < 3 ? 3 : /^<0x..>$/.test(piece) ? 6 : defined.includes(piece) ? 4 : 1);
const python = `
import json, sys, sentencepiece
model, texts = json.load(sys.stdin)
print(json.dumps(sentencepiece.SentencePieceProcessor(model_file=model).encode(texts)))`;
const plainTexts = texts.filter((text) => text.isWellFormed() && !/[\0▁]/.test(text));
const sentencePiece = {};
for (const [name, vocab] of Object.entries({ bpe, gemma, bare, mapped: mapped.vocab })) {
  const input = JSON.stringify([join(folder, `${name}.model`), plainTexts]);
  const answer = JSON.parse(execFileSync("/usr/bin/python3", ["-c", python], { input, maxBuffer: 2 ** 28 }));
  sentencePiece[name] = {
    tokens: vocab.map(([piece]) => piece), scores: vocab.map(([, score]) => score),
    types: vocab.map(([piece], id) => typeOf(piece, id, userDefined[name])), addSpacePrefix: name !== "gemma", ids: answer,
    ...(name === "mapped" ? { characters: mapped.characters } : {}),
  };
}
pairs.sentencePiece = { texts: plainTexts, models: sentencePiece };

writeFileSync(join(here, "tokenizers.json.gz"), gzipSync(JSON.stringify(files), { level: 9 }));
writeFileSync(join(here, "pairs.json.gz"), gzipSync(JSON.stringify(pairs), { level: 9 }));
