/**
 * The parts of tokenizer.json around the model: normalizer, pre-tokenizer, decoder and post-processor. Recognises those
 * that mean byte-level BPE with a known split rule and refuses all others.
 */
import { BitNetError } from "../base/errors.ts";
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
import { knownPatterns, type SplitRule } from "./split.ts";

/** @throws BitNetError TOKENIZER_INVALID unless the pipeline is byte-level with one of the known split patterns. */
export function readSplitRule(root: Located): SplitRule {
  const normalizer = member(root, "normalizer");
  if (!isAbsent(normalizer)) mismatch(normalizer, "null (normalizers are not supported)");
  const decoder = member(root, "decoder");
  if (!isAbsent(decoder) && member(decoder, "type").value !== "ByteLevel") {
    mismatch(member(decoder, "type"), '"ByteLevel"');
  }
  const steps = flatten(member(root, "pre_tokenizer"), "pretokenizers");
  const last = steps.at(-1);
  if (last === undefined || member(last, "type").value !== "ByteLevel" || steps.length > 2) {
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `tokenizer.json: pre_tokenizer: expected ByteLevel, alone or after one Split, found ${typesOf(steps)}; ` +
        "only byte-level BPE can be read",
    );
  }
  if (asFlag(member(last, "add_prefix_space"))) mismatch(member(last, "add_prefix_space"), "false");
  const useRegex = member(last, "use_regex");
  const splitsItself = isAbsent(useRegex) || asFlag(useRegex);
  const split = steps.length === 2 ? steps[0] : undefined;
  if (split !== undefined && !splitsItself) return readSplit(split);
  return split === undefined && splitsItself ? "gpt-2" : mismatch(useRegex, `${split === undefined}`);
}

/** The steps of a sequence, or the one step. */
function flatten(step: Located, listKey: string): Located[] {
  if (isAbsent(step)) return [];
  return member(step, "type").value === "Sequence" ? elements(member(step, listKey)) : [step];
}

function typesOf(steps: readonly Located[]): string {
  const types = steps.slice(0, 8).map((step) => String(member(step, "type").value).slice(0, 40));
  return types.length === 0 ? "nothing" : types.join(", ");
}

function readSplit(step: Located): SplitRule {
  if (member(step, "type").value !== "Split") mismatch(member(step, "type"), '"Split"');
  const regex = member(member(step, "pattern"), "Regex");
  const rule = knownPatterns.get(asString(regex));
  if (rule === undefined) {
    mismatch(regex, `the split pattern of ${[...new Set(knownPatterns.values())].join(" or ")}`);
  }
  // The patterns match every character, so keeping the matches and removing what lies between is the same.
  const behavior = member(step, "behavior");
  const inverted = asFlag(member(step, "invert"));
  if (behavior.value !== (inverted ? "Removed" : "Isolated")) mismatch(behavior, '"Isolated"');
  return rule;
}

/**
 * The beginning-of-text token that texts get: the first special token of the template for single texts.
 * @returns Its id, or `null` when texts get none.
 */
export function readPostProcessor(
  root: Located,
  idOf: (content: string) => number | undefined,
): number | null {
  const steps = flatten(member(root, "post_processor"), "processors");
  const template = steps.find((step) => member(step, "type").value === "TemplateProcessing");
  if (template === undefined) return null;
  const [first] = elements(member(template, "single"));
  if (first === undefined || !isRecord(first.value) || !("SpecialToken" in first.value)) return null;
  const name = member(member(first, "SpecialToken"), "id");
  return idOf(asString(name)) ?? mismatch(name, "a token of the vocabulary");
}
