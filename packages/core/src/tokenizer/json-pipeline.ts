/**
 * The parts of tokenizer.json around the model: normalizer, pre-tokenizer, decoder and post-processor. Steps that would change the
 * ids or the text and are not known here are refused by name.
 * Source: the serialised forms of the tokenizers library.
 */
import { byGraphemes, readCharacterMap } from "./character-map.ts";
import { prependScheme, readPreTokenizer, unsupported } from "./json-steps.ts";
import {
  asFlag,
  asString,
  elements,
  isAbsent,
  isRecord,
  type Located,
  member,
  mismatch,
} from "./json-value.ts";
import {
  inOrder,
  manySpaces,
  outerSpaces,
  prepend,
  replaceAll,
  type TextChange,
  toNormalForm,
  visibleSpace,
  withoutOuterSpaces,
} from "./normalise.ts";
import type { Decoding, LeadingSpace, Pipeline } from "./pipeline.ts";
import type { Spelling } from "./vocabulary.ts";

export interface ReadPipeline {
  readonly pipeline: Pipeline;
  readonly spelling: Spelling;
  readonly decoding: Decoding;
}

/** @throws BitNetError TOKENIZER_INVALID for what is malformed, FORMAT_UNSUPPORTED for steps that are not known. */
export function readPipeline(root: Located): ReadPipeline {
  const normalise = inOrder(flatten(member(root, "normalizer"), "normalizers").map(readNormalizer));
  const { isByteLevel, ...rest } = readPreTokenizer(flatten(member(root, "pre_tokenizer"), "pretokenizers"));
  const spelling = isByteLevel ? "byte-level" : "plain";
  return { pipeline: { normalise, ...rest }, spelling, decoding: readDecoding(root, spelling) };
}

/** The steps of a sequence and of the sequences in it, or the one step. */
function flatten(step: Located, listKey: string, depth = 0): Located[] {
  if (isAbsent(step)) return [];
  if (member(step, "type").value !== "Sequence") return [step];
  if (depth > 8) mismatch(step, "sequences nested at most 8 deep");
  return elements(member(step, listKey)).flatMap((inner) => flatten(inner, listKey, depth + 1));
}

function readNormalizer(step: Located): TextChange {
  const type = member(step, "type").value;
  switch (type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return toNormalForm(type);
    case "Prepend":
      return prepend(asString(member(step, "prepend")));
    case "Replace":
      return readReplace(step);
    case "Strip":
      return strip(asFlag(member(step, "strip_left")), asFlag(member(step, "strip_right")));
    case "Precompiled": {
      const table = member(step, "precompiled_charsmap");
      return byGraphemes(readCharacterMap(asBytes(table), table.where));
    }
    case "Lowercase":
      return (text) => Array.from(text, (character) => character.toLowerCase()).join("");
    default:
      return unsupported(step, "the normalizer");
  }
}

/** Written in base64. */
function asBytes(located: Located): Uint8Array {
  const text = asString(located);
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    return mismatch(located, "bytes in base64");
  }
}

function readReplace(step: Located): TextChange {
  const pattern = member(step, "pattern");
  const content = asString(member(step, "content"));
  const literal = member(pattern, "String");
  if (!isAbsent(literal)) {
    const from = asString(literal);
    return from === "" ? mismatch(literal, "a text to replace") : replaceAll(from, content);
  }
  const regex = member(pattern, "Regex");
  if (regex.value === outerSpaces && content === "") return withoutOuterSpaces;
  if (regex.value !== manySpaces) mismatch(regex, `"${manySpaces}", or a plain string as pattern`);
  return (text) => text.replace(/ {2,}/g, () => content);
}

/** White space at the ends, without the quadratic search of a regular expression. */
function strip(left: boolean, right: boolean): TextChange {
  const isSpace = (text: string, at: number) => /\p{White_Space}/u.test(text[at] ?? "");
  return (text) => {
    let [start, end] = [0, text.length];
    while (left && start < end && isSpace(text, start)) start++;
    while (right && end > start && isSpace(text, end - 1)) end--;
    return text.slice(start, end);
  };
}

function readDecoding(root: Located, spelling: Spelling): Decoding {
  const steps = flatten(member(root, "decoder"), "decoders");
  if (spelling === "byte-level") {
    const other = steps.find((step) => member(step, "type").value !== "ByteLevel");
    if (other !== undefined) mismatch(member(other, "type"), '"ByteLevel"');
    return { showsSpaces: false, leading: "kept" };
  }
  let showsSpaces = false;
  let leading: LeadingSpace = "kept";
  for (const step of steps) {
    const type = member(step, "type").value;
    if (type === "ByteFallback" || type === "Fuse") continue;
    if (type === "Replace") showsSpaces = isSpaceReplacement(step);
    else if (type === "Metaspace") {
      showsSpaces = true;
      if (prependScheme(step) !== "never") leading = "dropped-from-token";
    } else if (type === "Strip") leading = readStrip(step);
    else mismatch(member(step, "type"), "a decoder for plain tokens (there is no ByteLevel pre_tokenizer)");
  }
  return { showsSpaces, leading };
}

function isSpaceReplacement(step: Located): boolean {
  const from = member(member(step, "pattern"), "String");
  if (from.value !== visibleSpace) mismatch(from, JSON.stringify(visibleSpace));
  const to = member(step, "content");
  return to.value === " " || mismatch(to, '" "');
}

function readStrip(step: Located): LeadingSpace {
  if (member(step, "content").value !== " ") mismatch(member(step, "content"), '" "');
  if (member(step, "stop").value !== 0) mismatch(member(step, "stop"), "0");
  const start = member(step, "start");
  if (start.value === 0) return "kept";
  return start.value === 1 ? "dropped" : mismatch(start, "0 or 1");
}

/**
 * The beginning-of-text token that texts get: the first special token of the template for single texts.
 * @returns Its id, or `null` when texts get none.
 */
export function readPostProcessor(
  root: Located,
  idOf: (content: string) => number | undefined,
): { firstId: number | null; lastId: number | null } {
  const steps = flatten(member(root, "post_processor"), "processors");
  const template = steps.find((step) => member(step, "type").value === "TemplateProcessing");
  if (template === undefined) return { firstId: null, lastId: null };
  const parts = elements(member(template, "single"));
  const idAt = (part: Located | undefined): number | null => {
    if (part === undefined || !isRecord(part.value) || !("SpecialToken" in part.value)) return null;
    const name = member(member(part, "SpecialToken"), "id");
    return idOf(asString(name)) ?? mismatch(name, "a token of the vocabulary");
  };
  return { firstId: idAt(parts[0]), lastId: parts.length > 1 ? idAt(parts.at(-1)) : null };
}
