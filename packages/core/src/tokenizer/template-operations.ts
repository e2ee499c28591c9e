/**
 * What the filters and methods of the Jinja library cost, and how long their results can get: the table behind the
 * template budget. Everything here runs before the operation itself.
 */
import { type Budget, spendCharacters } from "./template-budget.ts";
import {
  checkSize,
  fullSize,
  isList,
  isMapping,
  isText,
  listSize,
  shallowSize,
  type TemplateValue,
  templateError,
} from "./template-values.ts";

interface FilterArguments {
  readonly positional: readonly TemplateValue[];
  readonly named: ReadonlyMap<string, TemplateValue>;
}

/** Filters that take the same time whatever they are given. */
const constantFilters: ReadonlySet<string> = new Set([
  "safe",
  "list",
  "first",
  "last",
  "length",
  "default",
  "abs",
  "bool",
  "int",
  "float",
]);

/** Filters that go over a container's elements without looking inside. */
const shallowFilters: ReadonlySet<string> = new Set([
  "reverse",
  "items",
  "keys",
  "values",
  "map",
  "selectattr",
  "rejectattr",
]);

export function chargeFilter(budget: Budget, name: string, operand: TemplateValue): void {
  if (constantFilters.has(name)) return;
  if (shallowFilters.has(name)) {
    spendCharacters(budget, shallowSize(operand));
    return;
  }
  const size = fullSize(budget.measure, operand);
  spendCharacters(budget, name === "sort" || name === "dictsort" ? size * sortFactor(operand) : size);
}

/** Comparisons that each element takes part in. */
function sortFactor(operand: TemplateValue): number {
  return 2 + Math.log2(1 + shallowSize(operand));
}

/** Checks the arguments of filters that could multiply their operand. */
export function chargeArguments(
  budget: Budget,
  name: string,
  operand: TemplateValue,
  { positional, named }: FilterArguments,
): void {
  if (name === "join") chargeJoin(budget, operand, positional[0] ?? named.get("separator"));
  if (name === "indent") chargeIndent(budget, operand, positional[0] ?? named.get("width"));
  if (name === "replace") chargeReplace(budget, operand, positional[0], positional[1]);
  if (name === "tojson") chargeJson(budget, operand, named.get("indent"), named.get("separators"));
  if (name !== "map" && name !== "sort") return;
  // The path of an attribute is taken apart for every element.
  const attribute = positional[2] ?? named.get("attribute");
  const length = isText(attribute) ? attribute.value.length : 1;
  spendCharacters(budget, shallowSize(operand) * length * sortFactor(operand));
}

function chargeJoin(budget: Budget, operand: TemplateValue, separator: TemplateValue | undefined): void {
  const count = isList(operand) ? operand.value.length : shallowSize(operand);
  chargeResult(
    budget,
    fullSize(budget.measure, operand) + count * (isText(separator) ? separator.value.length : 1),
  );
}

function chargeIndent(budget: Budget, operand: TemplateValue, width: TemplateValue | undefined): void {
  if (!isText(operand)) return;
  const lines = 1 + occurrences(operand.value, "\n");
  const perLine = typeof width?.value === "number" ? Math.max(0, width.value) : 4;
  chargeResult(budget, operand.value.length + lines * perLine);
}

function chargeReplace(
  budget: Budget,
  operand: TemplateValue,
  from: TemplateValue | undefined,
  to: TemplateValue | undefined,
): void {
  if (!isText(operand) || !isText(from) || !isText(to)) return;
  // The library searches with a regular expression, which may compare the whole pattern at every place.
  spendCharacters(budget, operand.value.length * (1 + from.value.length / 8));
  const growth = Math.max(0, to.value.length - from.value.length);
  chargeResult(budget, operand.value.length + occurrences(operand.value, from.value) * growth);
}

function chargeSplit(budget: Budget, object: TemplateValue, separator: TemplateValue | undefined): void {
  if (!isText(object)) return;
  const parts = isText(separator) ? 1 + occurrences(object.value, separator.value) : wordCount(object.value);
  chargeResult(budget, listSize(parts) + object.value.length);
}

function chargeJson(
  budget: Budget,
  operand: TemplateValue,
  indent: TemplateValue | undefined,
  separators: TemplateValue | undefined,
): void {
  if (typeof indent?.value === "number" && !(indent.value <= 16)) {
    throw templateError(`asks tojson to indent by ${indent.value}, at most 16 is supported`);
  }
  if (separators !== undefined && fullSize(budget.measure, separators) > 100) {
    throw templateError("gives tojson separators that are too long");
  }
  // Every element may start a line that is indented once per level of nesting.
  const perElement = typeof indent?.value === "number" ? 1 + indent.value : 1;
  chargeResult(budget, fullSize(budget.measure, operand) * perElement);
}

/** Charges for writing a text of `length` characters, if values may be that long. */
function chargeResult(budget: Budget, length: number): void {
  spendCharacters(budget, checkSize(budget.measure, length));
}

/** How often `part` occurs in `text`, not overlapping; an empty part occurs between all characters. */
function occurrences(text: string, part: string): number {
  if (part === "") return text.length + 1;
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

function wordCount(text: string): number {
  let count = 0;
  for (const _ of text.matchAll(/\S+/g)) count++;
  return count;
}

const guarded = new WeakSet<TemplateValue>();
type Builtin = (args: TemplateValue[], scope: unknown) => TemplateValue;

/**
 * Makes a method of a value charge for every call, wherever the template stores it first.
 * @param method What the template got for `object.name`.
 */
export function guardBuiltin(
  budget: Budget,
  object: TemplateValue,
  name: string,
  method: TemplateValue,
): void {
  if (isMapping(object) && object.value.get(name) === method) return; // not a method: a function stored in a mapping
  if (guarded.has(method)) return;
  guarded.add(method);
  const call = method.value as Builtin;
  method.value = ((args, scope) => {
    if (name === "replace") chargeReplace(budget, object, args[0], args[1]);
    if (name === "split") chargeSplit(budget, object, args[0]);
    const perCharacter = name === "dictsort" ? sortFactor(object) : 1;
    const searched = args.reduce((sum, arg) => sum + fullSize(budget.measure, arg), 0);
    spendCharacters(budget, fullSize(budget.measure, object) * (perCharacter + searched / 16));
    return call(args, scope);
  }) satisfies Builtin;
}
