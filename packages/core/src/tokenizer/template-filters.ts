/** Jinja2's filters and tests, as far as chat templates use them; `filterNames` and `testNames` say which. One short entry each, in two long lists. */
import { formatPercent } from "./template-format.ts";
import { jsonOptions, writeJson } from "./template-json.ts";
import { capitalized, keyOf, replaced, stripped } from "./template-methods.ts";
import {
  Callable,
  compare,
  equal,
  Float,
  isDict,
  isList,
  isTrue,
  itemsOf,
  type Key,
  lengthOf,
  type Meter,
  Namespace,
  numberOf,
  printed,
  Tuple,
  templateError,
  typeName,
  Undefined,
  type Value,
} from "./template-values.ts";

export interface FilterCall {
  readonly args: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
  readonly meter: Meter;
  /** The field or item of a value, as a template's `value.name` and `value[name]` find it. */
  fieldOf(value: Value, name: Key): Value;
}

type Filter = (value: Value, call: FilterCall) => Value;
type Test = (value: Value, args: readonly Value[], meter: Meter) => boolean;

function argument(call: FilterCall, index: number, name: string): Value | undefined {
  return call.named.get(name) ?? call.args[index];
}

function flag(call: FilterCall, index: number, name: string): boolean {
  return isTrue(argument(call, index, name) ?? false);
}

function text(value: Value, { meter }: FilterCall): string {
  const shown = printed(value, meter);
  meter.spend(shown.length + 1);
  return shown;
}

/** A value's attribute by a path such as "a.b.0", or the value itself. */
function pathOf(call: FilterCall, path: Value | undefined): (value: Value) => Value {
  if (path === undefined || path === null) return (value) => value;
  if (typeof path === "number") return (value) => call.fieldOf(value, path);
  if (typeof path !== "string") throw templateError("an attribute must be named by a text or a number");
  const parts = path.split(".").map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  return (value) => {
    call.meter.spend(path.length);
    return parts.reduce<Value>((object, part) => call.fieldOf(object, part), value);
  };
}

function isCaseless(call: FilterCall, index: number): (value: Value) => Value {
  const isSensitive = flag(call, index, "case_sensitive");
  return (value) => (typeof value === "string" && !isSensitive ? value.toLowerCase() : value);
}

function sorted<T>(items: readonly T[], keyed: (item: T) => Value, isReversed: boolean, meter: Meter): T[] {
  meter.make(16 * items.length);
  const keys = items.map((item) => ({ item, key: keyed(item) }));
  // Equal items keep their order, turned round or not.
  keys.sort((a, b) => (isReversed ? compare(b.key, a.key, meter) : compare(a.key, b.key, meter)));
  return keys.map(({ item }) => item);
}

function chosen(wanted: boolean, byAttribute: boolean): Filter {
  return (value, call) => {
    const [first, ...rest] = call.args;
    const read = byAttribute ? pathOf(call, first) : (item: Value) => item;
    const [testName, ...testArgs] = byAttribute ? rest : call.args;
    if (testName !== undefined && typeof testName !== "string")
      throw templateError("a test must be named by a text");
    const test =
      testName === undefined ? isTrue : (item: Value) => runTest(testName, item, testArgs, call.meter);
    const items = itemsOf(value, call.meter);
    call.meter.step(items.length);
    return call.meter.list(items.filter((item) => test(read(item)) === wanted));
  };
}

const extreme =
  (sign: number): Filter =>
  (value, call) => {
    const [lower, read] = [isCaseless(call, 0), pathOf(call, argument(call, 1, "attribute"))];
    let best: Value | undefined;
    for (const item of itemsOf(value, call.meter)) {
      if (best === undefined || sign * compare(lower(read(item)), lower(read(best)), call.meter) > 0)
        best = item;
    }
    return best ?? new Undefined("the first of nothing");
  };

const filters: Readonly<Record<string, Filter>> = {
  abs: (value) => {
    const number = numberOf(value);
    if (number === null) throw templateError(`abs of ${typeName(value)}`);
    return value instanceof Float ? new Float(Math.abs(number)) : Math.abs(number);
  },
  // Keys of a mapping are no attributes.
  attr: (value, call) =>
    isDict(value)
      ? new Undefined("an attribute of a dict")
      : call.fieldOf(value, keyOf(call.args[0] ?? null)),
  batch: (value, call) => {
    const size = Number(numberOf(argument(call, 0, "linecount") ?? null));
    if (!(size >= 1)) throw templateError("batch needs a number of items");
    const items = itemsOf(value, call.meter);
    const fill = argument(call, 1, "fill_with");
    const rows: Value[] = [];
    for (let at = 0; at < items.length; at += size) {
      const row = items.slice(at, at + size);
      while (fill !== undefined && fill !== null && row.length < Math.min(size, 10_000)) row.push(fill);
      rows.push(call.meter.list(row));
    }
    return call.meter.list(rows);
  },
  capitalize: (value, call) => capitalized(text(value, call)),
  center: (value, call) => {
    const shown = text(value, call);
    const width = Number(numberOf(argument(call, 0, "width") ?? 80));
    const missing = Math.max(0, width - shown.length);
    call.meter.make(missing);
    const left = Math.floor(missing / 2) + (missing & width & 1);
    return " ".repeat(left) + shown + " ".repeat(missing - left);
  },
  default: (value, call) => {
    const isMissing = value instanceof Undefined || (flag(call, 1, "boolean") && !isTrue(value));
    return isMissing ? (argument(call, 0, "default_value") ?? "") : value;
  },
  dictsort: (value, call) => {
    if (!isDict(value)) throw templateError(`dictsort of ${typeName(value)}`);
    const by = argument(call, 1, "by") ?? "key";
    const lower = isCaseless(call, 0);
    const entries = [...value].map(([key, item]) => ({ key, item }));
    const keyed = (entry: { key: Key; item: Value }) => lower(by === "value" ? entry.item : entry.key);
    return sorted(entries, keyed, flag(call, 2, "reverse"), call.meter).map(
      ({ key, item }) => new Tuple([key, item]),
    );
  },
  escape: (value, call) => {
    const shown = text(value, call);
    call.meter.make(5 * shown.length);
    const entities: Record<string, string> = {
      "&": "&amp;",
      "<": "&lt;",
      ">": "&gt;",
      "'": "&#39;",
      '"': "&#34;",
    };
    return shown.replace(/[&<>'"]/g, (character) => entities[character] ?? "");
  },
  first: (value, { meter }) => itemsOf(value, meter)[0] ?? new Undefined("the first of nothing"),
  float: (value, call) => {
    const number =
      typeof value === "string"
        ? /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i.test(value)
          ? Number(value)
          : null
        : numberOf(value);
    return number === null ? (argument(call, 0, "default") ?? new Float(0)) : new Float(number);
  },
  format: (value, call) => {
    const shown = text(value, call);
    return call.named.size > 0
      ? formatPercent(shown, new Map(call.named), call.meter)
      : formatPercent(shown, new Tuple(call.args), call.meter);
  },
  groupby: (value, call) => {
    const read = pathOf(call, argument(call, 0, "attribute"));
    const byDefault = argument(call, 1, "default");
    const keyed = (item: Value) => {
      const key = read(item);
      return key instanceof Undefined && byDefault !== undefined ? byDefault : key;
    };
    const lower = isCaseless(call, 2);
    const groups: { key: Value; items: Value[] }[] = [];
    for (const item of sorted(itemsOf(value, call.meter), (item) => lower(keyed(item)), false, call.meter)) {
      const last = groups.at(-1);
      if (last !== undefined && equal(lower(last.key), lower(keyed(item)), call.meter)) last.items.push(item);
      else groups.push({ key: keyed(item), items: [item] });
    }
    return groups.map(({ key, items }) => new Tuple([key, items]));
  },
  indent: (value, call) => {
    const width = argument(call, 0, "width") ?? 4;
    const shown = text(value, call);
    const size = typeof width === "string" ? width.length : Number(numberOf(width));
    const lines = shown.split("\n");
    call.meter.make(shown.length + lines.length * Math.max(0, size));
    const pad = typeof width === "string" ? width : " ".repeat(Math.max(0, size));
    const [first, blank] = [flag(call, 1, "first"), flag(call, 2, "blank")];
    return lines
      .map((line, i) => ((i === 0 && !first) || (line === "" && !blank && i > 0) ? line : pad + line))
      .join("\n");
  },
  int: (value, call) => {
    const number =
      typeof value === "string"
        ? /^\s*[-+]?\d+\s*$/.test(value)
          ? Number(value)
          : /^\s*[-+]?\d*\.\d+\s*$/.test(value)
            ? Number(value)
            : null
        : numberOf(value);
    return number === null || !Number.isFinite(number)
      ? (argument(call, 0, "default") ?? 0)
      : Math.trunc(number);
  },
  items: (value, { meter }) => {
    if (value instanceof Undefined) return [];
    if (!isDict(value)) throw templateError(`items of ${typeName(value)}`);
    return meter.list([...value].map(([key, item]) => new Tuple([key, item])));
  },
  join: (value, call) => {
    const separator = printed(argument(call, 0, "d") ?? "", call.meter);
    const read = pathOf(call, argument(call, 1, "attribute"));
    const items = itemsOf(value, call.meter);
    call.meter.make(items.length * separator.length);
    const parts = items.map((item) => text(read(item), call));
    call.meter.make(parts.reduce((sum, part) => sum + part.length, items.length * separator.length));
    return parts.join(separator);
  },
  last: (value, { meter }) => itemsOf(value, meter).at(-1) ?? new Undefined("the last of nothing"),
  length: (value, { meter }) => {
    if (typeof value === "string") meter.spend(value.length);
    return lengthOf(value);
  },
  list: (value, { meter }) => meter.list([...itemsOf(value, meter)]),
  lower: (value, call) => text(value, call).toLowerCase(),
  map: (value, call) => {
    const items = itemsOf(value, call.meter);
    call.meter.step(items.length);
    const attribute = call.named.get("attribute");
    if (attribute !== undefined) {
      const read = pathOf(call, attribute);
      const byDefault = call.named.get("default");
      return call.meter.list(
        items.map((item) => {
          const found = read(item);
          return found instanceof Undefined && byDefault !== undefined ? byDefault : found;
        }),
      );
    }
    const [name, ...args] = call.args;
    if (typeof name !== "string") throw templateError("map needs a filter's name or an attribute");
    return call.meter.list(items.map((item) => runFilter(name, item, { ...call, args })));
  },
  max: extreme(1),
  min: extreme(-1),
  reject: chosen(false, false),
  rejectattr: chosen(false, true),
  replace: (value, call) => {
    const [from, to, count] = [
      argument(call, 0, "old"),
      argument(call, 1, "new"),
      argument(call, 2, "count"),
    ];
    return replaced(text(value, call), [from ?? null, to ?? null, count ?? null], call.meter);
  },
  reverse: (value, { meter }) => {
    if (typeof value === "string") return meter.text(Array.from(value).reverse().join(""));
    return meter.list([...itemsOf(value, meter)].reverse());
  },
  round: (value, call) => {
    const number = numberOf(value);
    const digits = Number(numberOf(argument(call, 0, "precision") ?? 0));
    const method = argument(call, 1, "method") ?? "common";
    if (number === null || Math.abs(digits) > 15) throw templateError(`round of ${typeName(value)}`);
    const scaled = number * 10 ** digits;
    const [low, isHalf] = [Math.floor(scaled), scaled - Math.floor(scaled) === 0.5];
    const whole =
      method === "ceil"
        ? Math.ceil(scaled)
        : method === "floor"
          ? low
          : isHalf
            ? low + (low % 2 === 0 ? 0 : 1)
            : Math.round(scaled);
    return typeof value === "number" && method === "common"
      ? whole / 10 ** digits
      : new Float(whole / 10 ** digits);
  },
  safe: (value, call) => text(value, call),
  select: chosen(true, false),
  selectattr: chosen(true, true),
  slice: (value, call) => {
    const items = itemsOf(value, call.meter);
    const count = Number(numberOf(argument(call, 0, "slices") ?? null));
    if (!(count >= 1 && count <= 10_000)) throw templateError("slice needs a number of slices");
    const fill = argument(call, 1, "fill_with");
    const [size, longer] = [Math.floor(items.length / count), items.length % count];
    const rows: Value[] = [];
    for (let i = 0, at = 0; i < count; i++) {
      const row = items.slice(at, at + size + (i < longer ? 1 : 0));
      at += row.length;
      if (fill !== undefined && fill !== null && i >= longer && longer > 0) row.push(fill);
      rows.push(row);
    }
    return call.meter.list(rows);
  },
  sort: (value, call) => {
    const [lower, read] = [isCaseless(call, 1), pathOf(call, argument(call, 2, "attribute"))];
    return sorted(
      itemsOf(value, call.meter),
      (item) => lower(read(item)),
      flag(call, 0, "reverse"),
      call.meter,
    );
  },
  string: (value, call) => text(value, call),
  sum: (value, call) => {
    const read = pathOf(call, argument(call, 0, "attribute"));
    let [sum, isFloat] = [Number(numberOf(argument(call, 1, "start") ?? 0)), false];
    for (const item of itemsOf(value, call.meter)) {
      const found = read(item);
      const number = numberOf(found);
      if (number === null) throw templateError(`sum of ${typeName(found)}`);
      sum += number;
      isFloat ||= found instanceof Float;
    }
    return isFloat ? new Float(sum) : sum;
  },
  title: (value, call) =>
    text(value, call)
      .split(/([-\s({[<]+)/)
      .map((part) => (part === "" ? part : capitalized(part)))
      .join(""),
  tojson: (value, { args, named, meter }) => {
    const indent = args[1];
    const all = new Map([
      ...(args[0] === undefined ? [] : [["ensure_ascii", args[0]] as const]),
      ...(indent === undefined ? [] : [["indent", indent] as const]),
      ...named,
    ]);
    return writeJson(value, jsonOptions(all), meter);
  },
  trim: (value, call) => stripped(text(value, call), argument(call, 0, "chars"), "both"),
  truncate: (value, call) => {
    const shown = text(value, call);
    const length = Number(numberOf(argument(call, 0, "length") ?? 255));
    const [kills, end] = [flag(call, 1, "killwords"), printed(argument(call, 2, "end") ?? "...", call.meter)];
    const leeway = Number(numberOf(argument(call, 3, "leeway") ?? 5));
    if (shown.length <= length + leeway) return shown;
    const cut = shown.slice(0, Math.max(0, length - end.length));
    const space = cut.lastIndexOf(" ");
    return (kills || space < 0 ? cut : cut.slice(0, space)) + end;
  },
  unique: (value, call) => {
    const [lower, read] = [isCaseless(call, 0), pathOf(call, argument(call, 1, "attribute"))];
    const seen = new Set<Key>();
    return itemsOf(value, call.meter).filter((item) => {
      const key = keyOf(lower(read(item)));
      const isNew = !seen.has(key);
      seen.add(key);
      return isNew;
    });
  },
  upper: (value, call) => text(value, call).toUpperCase(),
  wordcount: (value, call) => text(value, call).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0,
};

const filterAliases: Readonly<Record<string, string>> = { count: "length", d: "default", e: "escape" };

const numeric =
  (test: (number: number, other: number) => boolean): Test =>
  (value, [other]) => {
    const [a, b] = [numberOf(value), numberOf(other ?? 0)];
    if (a === null || b === null) throw templateError(`a test of numbers on ${typeName(value)}`);
    return test(a, b);
  };
const ordered =
  (test: (order: number) => boolean): Test =>
  (value, [other = null], meter) =>
    test(compare(value, other, meter));

const tests: Readonly<Record<string, Test>> = {
  boolean: (value) => typeof value === "boolean",
  callable: (value) => value instanceof Callable,
  defined: (value) => !(value instanceof Undefined),
  divisibleby: numeric((a, b) => a % b === 0),
  eq: (value, [other = null], meter) => equal(value, other, meter),
  even: numeric((a) => a % 2 === 0),
  false: (value) => value === false,
  filter: (value) => typeof value === "string" && hasFilter(value),
  float: (value) => value instanceof Float,
  ge: ordered((order) => order >= 0),
  gt: ordered((order) => order > 0),
  in: (value, [list = null], meter) => contains(list, value, meter),
  integer: (value) => typeof value === "number",
  iterable: isIterable,
  le: ordered((order) => order <= 0),
  lower: (value, _, meter) => isCased(value, meter, (shown) => shown.toLowerCase()),
  lt: ordered((order) => order < 0),
  mapping: (value) => isDict(value),
  ne: (value, [other = null], meter) => !equal(value, other, meter),
  none: (value) => value === null,
  number: (value) => numberOf(value) !== null,
  odd: numeric((a) => Math.abs(a % 2) === 1),
  sameas: (value, [other = null]) => value === other,
  sequence: isIterable,
  string: (value) => typeof value === "string",
  test: (value) => typeof value === "string" && hasTest(value),
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value, _, meter) => isCased(value, meter, (shown) => shown.toUpperCase()),
};

const testAliases: Readonly<Record<string, string>> = {
  "==": "eq",
  "!=": "ne",
  "<": "lt",
  "<=": "le",
  ">": "gt",
  ">=": "ge",
  equalto: "eq",
  lessthan: "lt",
  greaterthan: "gt",
};

function isIterable(value: Value): boolean {
  return (
    typeof value === "string" ||
    isList(value) ||
    isDict(value) ||
    value instanceof Tuple ||
    value instanceof Undefined
  );
}

function isCased(value: Value, meter: Meter, change: (text: string) => string): boolean {
  const shown = printed(value, meter);
  meter.spend(shown.length);
  return /\p{Cased}/u.test(shown) && shown === change(shown);
}

/** Python's `in`. */
export function contains(list: Value, wanted: Value, meter: Meter): boolean {
  if (typeof list === "string") {
    if (typeof wanted !== "string") throw templateError(`looks for ${typeName(wanted)} in a text`);
    meter.spend(list.length * (1 + wanted.length / 16));
    return list.includes(wanted);
  }
  if (isDict(list)) return list.has(keyOf(wanted));
  if (list instanceof Namespace || list === null) throw templateError(`${typeName(list)} has no members`);
  return itemsOf(list, meter).some((item) => equal(item, wanted, meter));
}

function entryOf<T>(
  table: Readonly<Record<string, T>>,
  aliases: Readonly<Record<string, string>>,
  name: string,
): T | undefined {
  const real = Object.hasOwn(aliases, name) ? (aliases[name] ?? name) : name;
  return Object.hasOwn(table, real) ? table[real] : undefined;
}

export function hasFilter(name: string): boolean {
  return entryOf(filters, filterAliases, name) !== undefined;
}

export function hasTest(name: string): boolean {
  return entryOf(tests, testAliases, name) !== undefined;
}

export function runFilter(name: string, value: Value, call: FilterCall): Value {
  const filter = entryOf(filters, filterAliases, name);
  if (filter === undefined)
    throw templateError(`uses the filter "${name}", which is unknown or not supported`);
  if (isList(value)) call.meter.spend(value.length);
  const result = filter(value, call);
  return typeof result === "string" ? call.meter.text(result) : result;
}

export function runTest(name: string, value: Value, args: readonly Value[], meter: Meter): boolean {
  const test = entryOf(tests, testAliases, name);
  if (test === undefined) throw templateError(`uses the test "${name}", which is unknown or not supported`);
  return test(value, args, meter);
}
