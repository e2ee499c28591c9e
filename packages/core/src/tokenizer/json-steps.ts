/**
 * The pre-tokenizer of tokenizer.json as scanners over UTF-8. Regular expressions are not run: those of the models we know
 * are recognised, all others are refused.
 */
import { BitNetError } from "../base/errors.ts";
import { showValue } from "../base/show-value.ts";
import { charClass, classAt } from "./char-class.ts";
import { asFlag, asString, isAbsent, type Located, member, mismatch } from "./json-value.ts";
import type { Pipeline } from "./pipeline.ts";
import { knownPatterns, type PieceScanner, pieceScanner } from "./split.ts";
import {
  isChineseOrKana,
  isNumber,
  isNumberByte,
  isPunctuationMark,
  type MatchEnd,
  matchLiteral,
  matchRun,
  matchThreeDigits,
  type SplitBehavior,
  stepScanner,
} from "./split-steps.ts";

interface PreTokenizer extends Pick<Pipeline, "prepare" | "steps"> {
  /** Tokens are spelled in GPT-2's byte alphabet. */
  readonly isByteLevel: boolean;
}

const isNewline = (bytes: Uint8Array, position: number) => classAt(bytes, position) === charClass.newline;

/** Patterns that look for one kind of character. */
const matches: ReadonlyMap<string, MatchEnd> = new Map([
  ["\\p{N}", matchRun(isNumber, 1)],
  ["\\p{N}{1,3}", matchRun(isNumber, 3)],
  ["\\p{N}+", matchRun(isNumber)],
  ["[0-9][0-9][0-9]", matchThreeDigits],
  ["[\\r\\n]", matchRun(isNewline, 1)],
  ["[一-龥\u3040-ゟ゠-ヿ]+", matchRun(isChineseOrKana)],
]);

const behaviors: ReadonlySet<unknown> = new Set<SplitBehavior>([
  "Isolated",
  "Contiguous",
  "MergedWithPrevious",
  "MergedWithNext",
]);

/** @throws BitNetError TOKENIZER_INVALID or FORMAT_UNSUPPORTED. */
export function readPreTokenizer(list: readonly Located[]): PreTokenizer {
  const steps: PieceScanner[] = [];
  let prepare: Pipeline["prepare"] = null;
  let isByteLevel = false;
  for (const [index, step] of list.entries()) {
    switch (member(step, "type").value) {
      case "ByteLevel":
        if (isByteLevel) mismatch(step, "one ByteLevel step");
        if (readByteLevel(step)) steps.push(pieceScanner("gpt-2"));
        isByteLevel = true;
        break;
      case "Split":
        steps.push(readSplit(step, isByteLevel));
        break;
      case "Digits": {
        const most = asFlag(member(step, "individual_digits")) ? 1 : Number.POSITIVE_INFINITY;
        steps.push(
          isByteLevel
            ? stepScanner(numberBytes(most), "Isolated", "byte")
            : stepScanner(matchRun(isNumber, most), "Isolated"),
        );
        break;
      }
      case "Punctuation":
        if (isByteLevel) unsupported(step, "after ByteLevel, the step");
        steps.push(stepScanner(matchRun(isPunctuationMark, 1), readBehavior(step, "Isolated")));
        break;
      case "WhitespaceSplit":
        if (index > 0 || member(list[1] ?? step, "type").value !== "Metaspace")
          unsupported(step, "unless Metaspace follows, and nothing stands before it, the step");
        break;
      case "Metaspace": {
        const isOfWords = index === 1 && member(list[0] ?? step, "type").value === "WhitespaceSplit";
        if (index > 0 && !isOfWords) unsupported(step, "after other steps, the step");
        const splits = isAbsent(member(step, "split")) || asFlag(member(step, "split"));
        prepare = isOfWords ? ofWords(readMetaspace(step)) : readMetaspace(step);
        // Words that run together in what `prepare` gives are told apart by the space in front of each.
        if (isOfWords && (!splits || prependScheme(step) !== "always"))
          unsupported(
            step,
            "behind WhitespaceSplit, but not splitting and putting spaces in front, the step",
          );
        if (splits) steps.push(stepScanner(matchLiteral(replacementOf(step)), "MergedWithNext"));
        break;
      }
      default:
        unsupported(step, "the pre_tokenizer");
    }
  }
  return { prepare, steps, isByteLevel };
}

/** After ByteLevel a step sees bytes as characters, and some bytes inside characters look like digits. */
function numberBytes(most: number): MatchEnd {
  return (bytes, position, end) => {
    let at = position;
    while (at < end && at - position < most && isNumberByte(bytes, at)) at++;
    return at;
  };
}

/** @returns Whether the step splits by GPT-2's rule. */
function readByteLevel(step: Located): boolean {
  if (asFlag(member(step, "add_prefix_space"))) mismatch(member(step, "add_prefix_space"), "false");
  const useRegex = member(step, "use_regex");
  return isAbsent(useRegex) || asFlag(useRegex);
}

function readSplit(step: Located, isByteLevel: boolean): PieceScanner {
  const literal = member(member(step, "pattern"), "String");
  const inverted = asFlag(member(step, "invert"));
  if (isAbsent(literal)) {
    const regex = member(member(step, "pattern"), "Regex");
    const rule = knownPatterns.get(asString(regex));
    // These patterns match every character, so keeping the matches and removing what lies between is the same.
    if (rule !== undefined && !isByteLevel) {
      const behavior = member(step, "behavior");
      if (behavior.value !== (inverted ? "Removed" : "Isolated")) mismatch(behavior, '"Isolated"');
      return pieceScanner(rule);
    }
    const match = isByteLevel && regex.value !== "[0-9][0-9][0-9]" ? undefined : matches.get(asString(regex));
    if (match === undefined) {
      mismatch(
        regex,
        `the split pattern of ${[...new Set(knownPatterns.values())].join(" or ")}, or a simple one`,
      );
    }
    if (inverted) mismatch(member(step, "invert"), "false");
    return stepScanner(match, readBehavior(step, undefined), isByteLevel ? "byte" : "character");
  }
  const text = asString(literal);
  if (text === "") mismatch(literal, "a text to split at");
  if (inverted || isByteLevel) unsupported(step, "inverted or after ByteLevel, the step");
  return stepScanner(matchLiteral(text), readBehavior(step, undefined));
}

function readBehavior(step: Located, byDefault: SplitBehavior | undefined): SplitBehavior {
  const behavior = member(step, "behavior");
  if (isAbsent(behavior) && byDefault !== undefined) return byDefault;
  if (behaviors.has(behavior.value)) return behavior.value as SplitBehavior;
  return mismatch(behavior, `one of ${[...behaviors].join(", ")}`);
}

function replacementOf(step: Located): string {
  const replacement = member(step, "replacement");
  const text = asString(replacement);
  return Array.from(text).length === 1 ? text : mismatch(replacement, "one character");
}

/** Spaces become the replacement, and a text that does not begin with one gets one in front. */
function readMetaspace(step: Located): NonNullable<Pipeline["prepare"]> {
  const replacement = replacementOf(step);
  const scheme = prependScheme(step);
  return (text, isFirst) => {
    const replaced = text.replaceAll(" ", () => replacement);
    const wants = scheme === "always" || (scheme === "first" && isFirst);
    return wants && replaced !== "" && !replaced.startsWith(replacement) ? replacement + replaced : replaced;
  };
}

/** WhitespaceSplit, then `prepare` on each word. */
function ofWords(prepare: NonNullable<Pipeline["prepare"]>): NonNullable<Pipeline["prepare"]> {
  return (text, isFirst) =>
    text
      .split(/\p{White_Space}+/u)
      .map((word) => prepare(word, isFirst))
      .join("");
}

/** Where Metaspace puts a space in front; older files know only yes and no. */
export function prependScheme(step: Located): "always" | "first" | "never" {
  const scheme = member(step, "prepend_scheme");
  const older = member(step, "add_prefix_space");
  if (isAbsent(scheme)) return isAbsent(older) || asFlag(older) ? "always" : "never";
  const { value } = scheme;
  return value === "always" || value === "first" || value === "never"
    ? value
    : mismatch(scheme, '"always", "first" or "never"');
}

/** @throws BitNetError FORMAT_UNSUPPORTED, always. */
export function unsupported(step: Located, what: string): never {
  const { value } = member(step, "type");
  const type = typeof value === "string" ? value.slice(0, 40) : showValue(value);
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `${step.where}: ${what} ${JSON.stringify(type)} is not supported, and without it the tokens would be others`,
    { details: { type } },
  );
}
