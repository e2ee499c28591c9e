/** Methods of Python's texts, mappings and lists, as far as templates may call them. */
import { formatBraces } from "./template-format.ts";
import {
  Callable,
  type Dict,
  equal,
  hasPairs,
  isDict,
  isList,
  isTrue,
  itemsOf,
  type Key,
  type Meter,
  Tuple,
  templateError,
  typeName,
  Undefined,
  type Value,
} from "./template-values.ts";

type Method<T> = (self: T, args: readonly Value[], meter: Meter, named: ReadonlyMap<string, Value>) => Value;

/** What Python's `str.strip` takes for white space. */
const spaces = String.raw`\p{White_Space}\x1c-\x1f`;
const whiteSpace = new RegExp(`[${spaces}]`, "u");
const words = new RegExp(`[^${spaces}]+`, "gu");
/** Where Python's `str.splitlines` splits. */
const ends = String.raw`\n\r\v\f\x1c-\x1e\x85\u2028\u2029`;
const lines = new RegExp(`[^${ends}]*(?:\\r\\n|[${ends}])|[^${ends}]+$`, "g");
const lineEnd = new RegExp(`(?:\\r\\n|[${ends}])$`);

export function stripped(text: string, chars: Value | undefined, sides: "both" | "left" | "right"): string {
  const set = chars === undefined || chars === null ? null : new Set(textOf(chars));
  const units = set !== null && [...set].some((character) => character.length > 1) ? Array.from(text) : text;
  const goes = (unit: string | undefined) =>
    unit !== undefined && (set === null ? whiteSpace.test(unit) : set.has(unit));
  let start = 0;
  let end = units.length;
  if (sides !== "right") while (start < end && goes(units[start])) start++;
  if (sides !== "left") while (end > start && goes(units[end - 1])) end--;
  return typeof units === "string" ? units.slice(start, end) : units.slice(start, end).join("");
}

function textOf(value: Value | undefined): string {
  if (typeof value === "string") return value;
  throw templateError(`expected a text, found ${typeName(value ?? null)}`);
}

function integerOf(value: Value | undefined, byDefault: number): number {
  if (value === undefined || value === null) return byDefault;
  if (typeof value === "number") return value;
  throw templateError(`expected a whole number, found ${typeName(value)}`);
}

/** Letters that have a form for the beginning of a word of their own. */
const titleForms: Readonly<Record<string, string>> = { Ǆ: "ǅ", Ǉ: "ǈ", Ǌ: "ǋ", Ǳ: "ǲ" };

export function capitalized(text: string): string {
  const [first = ""] = text;
  const [upper = "", ...more] = first.toUpperCase();
  return (titleForms[upper] ?? upper) + more.join("").toLowerCase() + text.slice(first.length).toLowerCase();
}

/** Python's `str.title`: the first letter of every run of letters. */
function titled(text: string): string {
  return text.replace(/\p{Cased}+/gu, capitalized);
}

function split(
  text: string,
  separator: Value | undefined,
  limit: number,
  fromRight: boolean,
  meter: Meter,
): string[] {
  if (separator === undefined || separator === null) return splitWords(text, limit, fromRight, meter);
  const by = textOf(separator);
  if (by === "") throw templateError("splits at an empty text");
  const parts = text.split(by);
  meter.make(text.length + 16 * parts.length);
  if (limit < 0 || parts.length <= limit + 1) return parts;
  return fromRight
    ? [parts.slice(0, parts.length - limit).join(by), ...parts.slice(parts.length - limit)]
    : [...parts.slice(0, limit), parts.slice(limit).join(by)];
}

function splitWords(text: string, limit: number, fromRight: boolean, meter: Meter): string[] {
  const found = [...text.matchAll(words)];
  meter.make(text.length + 16 * found.length);
  const list = found.map(([word]) => word);
  if (limit < 0 || list.length <= limit) return list;
  if (fromRight) {
    const kept = found[found.length - limit - 1];
    if (kept === undefined) return list;
    return [text.slice(0, (kept.index ?? 0) + kept[0].length), ...list.slice(list.length - limit)];
  }
  const rest = found[limit];
  return rest === undefined ? list : [...list.slice(0, limit), text.slice(rest.index)];
}

export function replaced(text: string, args: readonly Value[], meter: Meter): string {
  const [from, to] = [textOf(args[0]), textOf(args[1])];
  const limit = integerOf(args[2], -1);
  meter.spend(text.length * (1 + from.length / 16));
  let count = from === "" ? text.length + 1 : 0;
  if (from !== "")
    for (let at = text.indexOf(from); at >= 0; at = text.indexOf(from, at + from.length)) count++;
  if (limit >= 0) count = Math.min(count, limit);
  meter.make(text.length + count * Math.max(0, to.length - from.length));
  if (count === 0) return text;
  if (from === "") {
    const units = Array.from(text);
    const out = units.map((unit, i) => (i < count ? to + unit : unit)).join("");
    return count > units.length ? out + to : out;
  }
  const parts = text.split(from);
  return parts.map((part, i) => (i === 0 ? part : (i <= count ? to : from) + part)).join("");
}

function begins(
  text: string,
  args: readonly Value[],
  test: (text: string, part: string) => boolean,
): boolean {
  const [wanted] = args;
  const parts = wanted instanceof Tuple ? wanted.items : [wanted];
  return parts.some((part) => test(text, textOf(part)));
}

function found(text: string, index: number): number {
  return index < 0 || !hasPairs(text) ? index : Array.from(text.slice(0, index)).length;
}

function padded(
  text: string,
  args: readonly Value[],
  meter: Meter,
  share: (missing: number) => number,
): string {
  const fill = args[1] === undefined ? " " : textOf(args[1]);
  const missing = Math.max(0, integerOf(args[0], 0) - Array.from(text).length);
  meter.make(text.length + missing);
  const left = share(missing);
  return fill.repeat(left) + text + fill.repeat(missing - left);
}

const every = (pattern: RegExp) => (text: string) => text !== "" && pattern.test(text);

const textMethods: Readonly<Record<string, Method<string>>> = {
  upper: (s) => s.toUpperCase(),
  lower: (s) => s.toLowerCase(),
  casefold: (s) => s.toLowerCase(),
  strip: (s, [chars]) => stripped(s, chars, "both"),
  lstrip: (s, [chars]) => stripped(s, chars, "left"),
  rstrip: (s, [chars]) => stripped(s, chars, "right"),
  title: (s) => titled(s),
  capitalize: (s) => capitalized(s),
  swapcase: (s) => Array.from(s, (c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())).join(""),
  startswith: (s, args) => begins(s, args, (text, part) => text.startsWith(part)),
  endswith: (s, args) => begins(s, args, (text, part) => text.endsWith(part)),
  split: (s, args, meter, named) =>
    split(s, named.get("sep") ?? args[0], integerOf(named.get("maxsplit") ?? args[1], -1), false, meter),
  rsplit: (s, args, meter, named) =>
    split(s, named.get("sep") ?? args[0], integerOf(named.get("maxsplit") ?? args[1], -1), true, meter),
  splitlines: (s, [keeps], meter) => {
    const parts = s.match(lines) ?? [];
    meter.list(parts);
    return isTrue(keeps ?? false) ? [...parts] : parts.map((line) => line.replace(lineEnd, ""));
  },
  replace: (s, args, meter, named) =>
    replaced(s, named.has("count") ? [args[0] ?? "", args[1] ?? "", named.get("count") ?? -1] : args, meter),
  join: (s, [list], meter) => {
    const parts = itemsOf(list ?? null, meter).map((part) => textOf(part));
    meter.make(parts.reduce((sum, part) => sum + part.length + s.length, 0));
    return parts.join(s);
  },
  find: (s, [part]) => found(s, s.indexOf(textOf(part))),
  rfind: (s, [part]) => found(s, s.lastIndexOf(textOf(part))),
  index: (s, [part]) => {
    const at = found(s, s.indexOf(textOf(part)));
    if (at < 0) throw templateError("substring not found");
    return at;
  },
  count: (s, [part]) => (textOf(part) === "" ? s.length + 1 : s.split(textOf(part)).length - 1),
  partition: (s, [by]) => {
    const at = s.indexOf(textOf(by));
    return new Tuple(at < 0 ? [s, "", ""] : [s.slice(0, at), textOf(by), s.slice(at + textOf(by).length)]);
  },
  rpartition: (s, [by]) => {
    const at = s.lastIndexOf(textOf(by));
    return new Tuple(at < 0 ? ["", "", s] : [s.slice(0, at), textOf(by), s.slice(at + textOf(by).length)]);
  },
  removeprefix: (s, [part]) => (s.startsWith(textOf(part)) ? s.slice(textOf(part).length) : s),
  removesuffix: (s, [part]) =>
    textOf(part) !== "" && s.endsWith(textOf(part)) ? s.slice(0, -textOf(part).length) : s,
  isdigit: every(/^[\p{Nd}\u00b2\u00b3\u00b9\u2070-\u2089]+$/u),
  isdecimal: every(/^\p{Nd}+$/u),
  isnumeric: every(/^\p{N}+$/u),
  isalpha: every(/^\p{L}+$/u),
  isalnum: every(/^[\p{L}\p{N}]+$/u),
  isspace: every(new RegExp(`^[${spaces}]+$`, "u")),
  isupper: (s) => /\p{Cased}/u.test(s) && s === s.toUpperCase(),
  islower: (s) => /\p{Cased}/u.test(s) && s === s.toLowerCase(),
  zfill: (s, [width], meter) => {
    const sign = /^[-+]/.exec(s)?.[0] ?? "";
    return sign + padded(s.slice(sign.length), [integerOf(width, 0) - sign.length, "0"], meter, (n) => n);
  },
  ljust: (s, args, meter) => padded(s, args, meter, () => 0),
  rjust: (s, args, meter) => padded(s, args, meter, (n) => n),
  center: (s, args, meter) =>
    padded(s, args, meter, (n) => Math.floor(n / 2) + (n & integerOf(args[0], 0) & 1)),
  format: (s, args, meter, named) => formatBraces(s, args, named, meter),
};

const dictMethods: Readonly<Record<string, Method<Dict>>> = {
  get: (dict, [key, byDefault = null]) => dict.get(keyOf(key ?? null)) ?? byDefault,
  items: (dict, _, meter) => meter.list([...dict].map(([key, value]) => new Tuple([key, value]))),
  keys: (dict, _, meter) => meter.list([...dict.keys()]),
  values: (dict, _, meter) => meter.list([...dict.values()]),
  copy: (dict, _, meter) => {
    meter.make(16 * dict.size);
    return new Map(dict);
  },
};

const listMethods: Readonly<Record<string, Method<readonly Value[]>>> = {
  count: (list, [wanted = null], meter) => list.filter((item) => equal(item, wanted, meter)).length,
  index: (list, [wanted = null], meter) => {
    const at = list.findIndex((item) => equal(item, wanted, meter));
    if (at < 0) throw templateError("the list does not have the item");
    return at;
  },
  copy: (list, _, meter) => meter.list([...list]),
};

/** Methods that would change what they are called on; the renderer's sandbox refuses them, too. */
const changing = new Set(
  "append extend insert pop remove clear sort reverse update setdefault popitem".split(" "),
);

/** @returns The method of that name, or undefined. */
export function methodOf(object: Value, name: string, meter: Meter): Callable | undefined {
  if (typeof object === "string") return bound(textMethods, object, object.length, name, meter);
  const isContainer = isList(object) || isDict(object);
  if (isContainer && changing.has(name))
    throw templateError(`changes a value by ${name}(), which templates must not`);
  if (isList(object)) return bound(listMethods, object, object.length, name, meter);
  if (object instanceof Tuple) return bound(listMethods, object.items, object.items.length, name, meter);
  return isDict(object) ? bound(dictMethods, object, object.size, name, meter) : undefined;
}

function bound<T>(
  methods: Readonly<Record<string, Method<T>>>,
  self: T,
  size: number,
  name: string,
  meter: Meter,
): Callable | undefined {
  const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
  if (method === undefined) return undefined;
  return new Callable(name, (args, named) => {
    const searched = args.reduce<number>((sum, arg) => sum + (typeof arg === "string" ? arg.length : 0), 0);
    meter.spend(size * (1 + searched / 16) + 1);
    const result = method(self, args, meter, named);
    if (typeof result === "string") meter.text(result);
    return result;
  });
}

export function isKey(value: Value): value is Key {
  return value === null || ["string", "number", "boolean"].includes(typeof value);
}

export function keyOf(value: Value): Key {
  if (isKey(value)) return value;
  if (value instanceof Undefined) throw templateError(`${value.what} is undefined`);
  throw templateError(`${typeName(value)} cannot be a key`);
}
