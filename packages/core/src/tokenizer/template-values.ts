/**
 * The syntax nodes and runtime values of the Jinja library, as far as the budget looks into them, and how large a value
 * becomes when it is written out. Containers may share their elements, so that a small value can write out to an
 * exponentially long text: sizes count it in full.
 */
import { BitNetError } from "../base/errors.ts";

/** A node of the syntax tree. */
export interface TemplateNode {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A value at run time. Everything but namespaces is immutable once made. */
export interface TemplateValue {
  readonly type: string;
  value: unknown;
  readonly builtins: ReadonlyMap<string, TemplateValue>;
}

/** The variables that a piece of template sees. */
export interface TemplateScope {
  /** Declares a variable; plain JavaScript values and functions are converted. */
  set(name: string, value: unknown): TemplateValue;
}

export function isNode(value: unknown): value is TemplateNode {
  return (
    typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string"
  );
}

export function isList(value: TemplateValue): value is TemplateValue & { value: TemplateValue[] } {
  return value.type === "ArrayValue" || value.type === "TupleValue";
}

export function isMapping(
  value: TemplateValue,
): value is TemplateValue & { value: Map<string, TemplateValue> } {
  return (
    value.type === "ObjectValue" || value.type === "KeywordArgumentsValue" || value.type === "NamespaceValue"
  );
}

export function isText(value: TemplateValue | undefined): value is TemplateValue & { value: string } {
  return value?.type === "StringValue";
}

/** Characters that an element costs besides its own. */
const elementSize = 16;
const maxDepth = 64;

/** Size of a value without what its elements hold: what an operation costs that only touches the container. */
export function shallowSize(value: TemplateValue): number {
  if (isText(value)) return value.value.length;
  if (isList(value)) return listSize(value.value.length);
  return isMapping(value) ? listSize(value.value.size) : 1;
}

/** Size of a container of `count` elements, without what they hold. */
export function listSize(count: number): number {
  return elementSize * count;
}

/** Measures values in full, remembering what cannot change. One per rendering. */
export interface Measure {
  readonly sizes: WeakMap<TemplateValue, number>;
  /** Larger values fail. */
  readonly limit: number;
  /** Set when a namespace was met: its contents may change, so that nothing around it is remembered. */
  isMutable: boolean;
}

/**
 * Characters of the value written out, roughly.
 * @throws BitNetError TEMPLATE_FAILED when it is larger than the limit, or nested too deeply.
 */
export function fullSize(measure: Measure, value: TemplateValue, depth = 0): number {
  if (isText(value)) return checkSize(measure, value.value.length + 1);
  if (!isList(value) && !isMapping(value)) return elementSize / 2;
  const known = measure.sizes.get(value);
  if (known !== undefined) return known;
  if (depth > maxDepth) throw templateError(`a value is nested more than ${maxDepth} levels deep`);
  const outer = measure.isMutable;
  measure.isMutable = value.type === "NamespaceValue";
  const size = isList(value)
    ? fullListSize(measure, value.value, depth)
    : fullMapSize(measure, value.value, depth);
  if (!measure.isMutable) measure.sizes.set(value, size);
  measure.isMutable ||= outer;
  return size;
}

function fullListSize(measure: Measure, items: readonly TemplateValue[], depth: number): number {
  let size = elementSize;
  for (const item of items)
    size = checkSize(measure, size + elementSize + fullSize(measure, item, depth + 1));
  return size;
}

function fullMapSize(measure: Measure, entries: ReadonlyMap<string, TemplateValue>, depth: number): number {
  let size = elementSize;
  for (const [key, item] of entries) {
    size = checkSize(measure, size + elementSize + key.length + fullSize(measure, item, depth + 1));
  }
  return size;
}

export function checkSize({ limit }: { readonly limit: number }, size: number): number {
  if (size <= limit) return size;
  throw templateError(`a value grew past ${limit} characters`);
}

export function templateError(message: string): BitNetError {
  return new BitNetError("TEMPLATE_FAILED", message);
}
